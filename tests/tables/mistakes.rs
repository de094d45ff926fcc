//! What is wrong with a table is told with file, line and column; what a table lacks is told, too.

use crate::Desk;

#[test]
fn a_bad_line_is_told_with_its_file_line_and_column() {
    let desk = Desk::new();
    let cases = [
        ("m,n,k\n1,512,512\n", "line 2: missing field `latency_ms`"),
        ("m,n,k,latency_ms\n1,512,512,0.01\n2,512,512,NaN\n", "line 3, column latency_ms: a kernel takes some time"),
        ("m,n,k,latency_ms\n1,512,512,-0.01\n", "line 2, column latency_ms: a kernel takes some time, above 0"),
        (
            "m,n,k,latency_ms\n1,512,512,60001\n",
            "line 2, column latency_ms: a kernel takes some time, above 0 and up to 60 s",
        ),
        ("m,n,k,latency_ms\n1,512,many,0.01\n", "line 2, column k: invalid digit"),
        ("m,n,k,latency_ms\n1,0,512,0.01\n", "line 2, column n: 0, where 1 to"),
        ("m,n,k,latency_ms\n1,512,4000000000,0.01\n", "line 2, column k: 4000000000, where 1 to"),
        ("m,n,k,latency_ms\n1,512,512\n", "line: 2, byte: 17): found record with 3 fields"),
        ("m,n,k,latency_ms\n", "has no matrix products"),
        ("", "has no matrix products"),
        ("m,n,k,latency_ms\n1,8,8,1\n2,8,8,1\n1,8,8,2\n", "line 4 measures the shape (1, 8, 8) again, after line 2"),
    ];
    for (text, complaint) in cases {
        desk.write("gemm.csv", text);
        let told = desk.check("{gemm: gemm.csv}");
        assert_eq!(told.code, 2, "{text}\n{}", told.err);
        assert!(told.err.contains("gemm.csv") && told.err.contains(complaint), "{text}\n{}", told.err);
        assert!(told.err.contains("compute_devices[0].efficiency_table"), "{}", told.err);
    }
}

#[test]
fn a_table_without_its_files_model_or_curve_is_an_error() {
    let desk = Desk::new();
    desk.write("layers/dense.csv", "layer,tokens,time_us\nqkv_proj,1,20\n");
    desk.write("gemm.csv", "m,n,k,latency_ms\n1,6144,4096,0.06\n");
    desk.write(
        "moe.csv",
        "gpu,dtype,hidden,inter,experts,topk,tp,ep,distribution,tokens,latency_ms\na,bfloat16,8,8,8,2,1,1,power_law,1,1\n\
         b,bfloat16,8,8,8,2,1,1,power_law,1,1\n",
    );
    for (table, complaint) in [
        ("{gemm: nowhere.csv}", "no file nowhere.csv"),
        ("{gemm: [gemm.csv]}", "efficiency_table.gemm"),
        ("{gems: gemm.csv}", "did you mean gemm"),
        ("{layers: [layers]}", "layers without layers_model"),
        ("{layers: [layers], layers_model: Lama}", "is neither a model of the catalog"),
        ("{layers: [layers], layers_model: Llama3.1-8B}", "per_sequence.csv"),
        ("{experts: moe.csv}", "line 3 measures the shape"),
        ("{experts: moe.csv, experts_gpu: c}", "has no experts on \"c\""),
    ] {
        let told = desk.check(table);
        assert_eq!(told.code, 2, "{table}\n{}", told.err);
        assert!(told.err.contains(complaint), "{table}\n{}", told.err);
    }
    let written_out = "{gemm: gemm.csv}\n      device_type: GPU\n      peak_tflops: {fp16: 165}\n      \
                       memory_capacity_bytes: 24000000000\n      memory_gbps: 1008";
    desk.write("config.yaml", &crate::CONFIG.replace("TABLE", written_out).replace("      device: RTX-4090\n", ""));
    let told = desk.run("validate config.yaml");
    assert!(told.code == 2 && told.err.contains("needs a curve for what it does not hold"), "{}", told.err);
    let curve = format!("{written_out}\n      efficiency_curve: RTX-4090");
    desk.write("config.yaml", &crate::CONFIG.replace("TABLE", &curve).replace("      device: RTX-4090\n", ""));
    let told = desk.run("validate config.yaml");
    assert_eq!(told.code, 0, "{}", told.err);
}

#[test]
fn what_a_table_lacks_or_measures_too_fast_is_a_warning() {
    let desk = Desk::new();
    desk.write("gemm.csv", "m,n,k,latency_ms\n1,6144,4096,0.06\n8,6144,4096,0.000001\n");
    let told = desk.check("{gemm: gemm.csv}");
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.err.contains("priced by curve, for its devices' efficiency_table lacks them"), "{}", told.err);
    assert!(told.err.contains("products 28672 wide and 4096 deep;"), "{}", told.err);
    assert!(
        told.err.contains("products 4096 wide and 4096 deep (corrected as products near them are)"),
        "{}",
        told.err
    );
    assert!(!told.err.contains("6144 wide"), "{}", told.err);
    assert!(told.err.contains("1 of 2 times of products beat the device's peaks"), "{}", told.err);
    let told = desk.run("validate config.yaml --set hardware_profile.compute_devices[0].mfu=0.5");
    assert!(told.err.contains("has no effect beside mfu or mbu"), "{}", told.err);
    assert!(!told.err.contains("priced by curve"), "{}", told.err);
}

#[test]
fn slower_measurements_make_a_slower_run_in_a_file_and_by_flag() {
    let desk = Desk::new();
    desk.write("gemm.csv", "m,n,k,latency_ms\n1,6144,4096,1\n4096,6144,4096,5\n");
    desk.check("{gemm: gemm.csv}");
    let e2e = |arguments: &str| {
        let told = desk.run(&format!("run config.yaml --output none --format json {arguments}"));
        assert_eq!(told.code, 0, "{}", told.err);
        let summary: serde_json::Value = serde_json::from_str(&told.out).expect("it prints JSON");
        summary.pointer("/latency/end_to_end_latency_ms/mean").and_then(serde_json::Value::as_f64).expect("a number")
    };
    let in_file = e2e("");
    let without = e2e("--set hardware_profile.compute_devices[0].efficiency_table=null");
    let by_flag =
        e2e("--set hardware_profile.compute_devices[0].efficiency_table=null --efficiency-table gemm=gemm.csv");
    assert!(in_file > 1.5 * without, "{in_file} ms with slow products, {without} ms without");
    assert_eq!(in_file, by_flag);
}
