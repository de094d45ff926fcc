//! Whatever the text, an answer.

use llmperforacle::config::{Overrides, load_text};
use proptest::prelude::*;

use crate::{GOOD, resolve, with_set};

#[test]
fn bombs_are_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!("simulation: {}", "{a: ".repeat(10_000));
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    for text in [deep, wide, aliases] {
        let found = resolve(&text).expect_err("a bomb");
        assert!(found.len() <= 20, "{} findings", found.len());
    }
}

#[test]
fn a_path_of_a_thousand_keys_is_refused() {
    let set = format!("{}=1", vec!["a"; 100_000].join("."));
    let found = with_set(&[&set]).expect_err("too long");
    assert_eq!(found.len(), 1);
    let set = format!("a{}=1", "[0]".repeat(100_000));
    assert!(with_set(&[&set]).is_err());
}

#[test]
fn byte_order_marks_and_carriage_returns_are_read_over() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert!(resolve(&text).is_ok());
}

#[test]
fn the_client_serves_no_model() {
    let text = GOOD
        .replace("device_id: gpu2", "device_id: client_node_0")
        .replace("gpu_id: gpu0", "gpu_id: client_node_0");
    let found = resolve(&text).expect_err("the client");
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().contains("client"), "{}", found[0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_text(&bytes, "test.yaml", &Overrides::default());
    }

    #[test]
    fn no_truncation_or_mutation_makes_it_panic(
        cut in 0..GOOD.len(),
        edits in proptest::collection::vec((0..GOOD.len(), "[\\[\\]{}:,&*!|>'\"#%@`\n\t 0-9a-z.-]{0,4}"), 0..4),
        is_cut in any::<bool>(),
    ) {
        let mut text = if is_cut { GOOD[..cut].to_owned() } else { GOOD.to_owned() };
        for (place, inserted) in edits {
            let place = place.min(text.len());
            if text.is_char_boundary(place) {
                text.insert_str(place, &inserted);
            }
        }
        let _ = resolve(&text);
    }

    #[test]
    fn no_value_makes_it_panic(
        line in 0..40_usize,
        value in prop_oneof![
            Just(".nan"), Just("-.inf"), Just("1e308"), Just("-1"), Just("0"), Just("18446744073709551615"),
            Just("4294967295"), Just("[]"), Just("{}"), Just("''"), Just("~"), Just("true"), Just("x"), Just("1e-320"), Just("client_node_0"), Just("gpu1"), Just("framework_entry_0"), Just("\u{feff}"),
        ],
    ) {
        let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
        let line = line % lines.len();
        if let Some((key, _)) = lines[line].clone().split_once(": ") {
            lines[line] = format!("{key}: {value}");
        }
        let _ = resolve(&lines.join("\n"));
    }

    #[test]
    fn no_override_makes_it_panic(set in "[a-z_.\\[\\]*0-9]{0,30}=?[ -~]{0,20}") {
        let _ = with_set(&[&set]);
    }
}
