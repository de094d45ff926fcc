mod output_support;
#[test]
fn scratch() {
    let records = output_support::records(1, 524_288);
    llmperforacle::output::scratch_columns(
        &records,
        &output_support::scenario(),
        &output_support::profiles(),
    );
}
