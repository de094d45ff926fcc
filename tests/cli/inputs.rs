//! What comes from standard input and through pipes, and how what cannot be read is told.

use std::process::Command;

use crate::{Desk, TRACE, Told};

const MODEL: &str = "--model Llama3-8B --device A100 --format json -q -o none";

/// Runs a line of bash in the desk's folder, with the program as `$PROGRAM`.
fn bash(desk: &Desk, line: &str) -> Told {
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(desk.folder.path()).env("PROGRAM", env!("CARGO_BIN_EXE_llmperforacle"));
    Told::of(&command.output().expect("there is a shell"))
}

#[test]
fn a_trace_may_come_through_a_pipe() {
    let desk = Desk::small();
    // Longer than what a pipe or a buffer holds, so that it is read in pieces.
    let rows: String = (0..40_000).map(|row| format!("{}.5,{},{}\n", row, 100 + row % 900, 1 + row % 3)).collect();
    desk.write("long.csv", &format!("arrival_s,prompt_tokens,output_tokens\n{rows}"));
    let mooncake = "{\"timestamp\": 0, \"input_length\": 1200, \"output_length\": 5, \"hash_ids\": [1, 2, 3]}\n";
    desk.write("mooncake.jsonl", mooncake);
    for trace in ["long.csv", "trace.csv", "mooncake.jsonl"] {
        let expected = bash(&desk, &format!("$PROGRAM run --trace {trace} {MODEL}"));
        assert_eq!(expected.code, 0, "{}", expected.err);
        for line in [
            "cat TRACE | $PROGRAM run --trace - MODEL",
            "$PROGRAM run --trace - MODEL < TRACE",
            "cat TRACE | $PROGRAM run --trace /dev/stdin MODEL",
            "$PROGRAM run --trace /dev/stdin MODEL < TRACE",
            "$PROGRAM run --trace <(cat TRACE) MODEL",
            "rm -f fifo.x; mkfifo fifo.x; (cat TRACE > fifo.x &) ; $PROGRAM run --trace fifo.x MODEL",
        ] {
            let told = bash(&desk, &line.replace("TRACE", trace).replace("MODEL", MODEL));
            assert_eq!(told.code, 0, "{line}: {}", told.err);
            let without_name = |text: &str| -> String {
                text.lines().filter(|line| !line.contains("\"description\": \"trace ")).collect()
            };
            assert_eq!(without_name(&told.out), without_name(&expected.out), "{line}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_trace_from_standard_input_is_told_with_its_line() {
    let desk = Desk::small();
    desk.write("wrong.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n1,x,10\n");
    desk.write("order.csv", "arrival_s,prompt_tokens,output_tokens\n1,100,10\n0,100,10\n");
    for (line, complaint) in [
        ("cat wrong.csv | $PROGRAM run --trace - MODEL", "standard input:3: prompt_tokens is \"x\""),
        ("cat order.csv | $PROGRAM run --trace - MODEL", "standard input:3"),
        ("true | $PROGRAM run --trace - MODEL", "the trace standard input is empty"),
        // Its first line is enough: it has no end.
        ("yes | $PROGRAM run --trace - MODEL", "standard input:1: no known trace has the header"),
        ("$PROGRAM run --trace /dev/zero MODEL", "not a regular file"),
        ("$PROGRAM run --trace . MODEL", "directory"),
    ] {
        let told = bash(&desk, &line.replace("MODEL", MODEL));
        assert!(told.code == 2 && told.err.contains(complaint), "{line}: {} {}", told.code, told.err);
    }
}

#[test]
fn a_configuration_may_come_from_standard_input() {
    let desk = Desk::small();
    let expected = bash(&desk, "$PROGRAM run small.yaml -q --format json -o none").out;
    for line in [
        "cat small.yaml | $PROGRAM run - -q --format json -o none",
        "$PROGRAM run - -q --format json -o none < small.yaml",
        "$PROGRAM run <(cat small.yaml) -q --format json -o none",
    ] {
        let told = bash(&desk, line);
        assert_eq!((told.code, &told.out), (0, &expected), "{line}: {}", told.err);
    }
    let told = bash(&desk, "$PROGRAM run - -q < small.yaml");
    assert!(told.code == 0 && desk.path("output/stdin/manifest.json").exists(), "{}", told.err);
    let told = bash(&desk, "$PROGRAM validate - < small.yaml");
    assert_eq!((told.code, told.out.as_str()), (0, "- is valid: 0 errors, 0 warnings\n"));
    let told = bash(&desk, "sed s/random_seed/random_sed/ small.yaml | $PROGRAM validate -");
    assert!(told.err.starts_with("standard input:1:"), "{}", told.err);
    let (head, rest) = crate::SMALL.split_once("workload:").expect("it has a workload");
    let (_, tail) = rest.split_once("frameworks_to_test:").expect("it has frameworks");
    desk.write("both.yaml", &format!("{head}workload: {{trace: {{path: '-'}}}}\nframeworks_to_test:{tail}"));
    let told = bash(&desk, "$PROGRAM run - -q < both.yaml");
    assert!(told.code == 2 && told.err.contains("comes from standard input already"), "{}", told.err);
    desk.write("trace.csv", TRACE);
    let told = bash(&desk, "$PROGRAM run both.yaml -q < trace.csv");
    assert_eq!(told.code, 0, "{}", told.err);
}

#[test]
fn other_inputs_may_be_pipes_too() {
    let desk = Desk::small();
    std::fs::create_dir(desk.path("mine")).expect("a folder can be made");
    let config = "{\"model_type\": \"llama\", \"hidden_size\": 2048, \"intermediate_size\": 8192, \"num_hidden_layers\": 16, \"num_attention_heads\": 32, \"num_key_value_heads\": 8, \"vocab_size\": 128256, \"max_position_embeddings\": 131072, \"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": true}";
    desk.write("mine/config.json", config);
    let told = bash(&desk, "$PROGRAM run --trace trace.csv --model <(cat mine/config.json) --device L4 -q -o none");
    assert_eq!(told.code, 0, "{}", told.err);
}

#[test]
fn no_message_has_a_replacement_character_and_several_findings_are_several_lines() {
    let desk = Desk::small();
    for name in ["a", "b"] {
        std::fs::create_dir(desk.path(name)).expect("a folder can be made");
    }
    desk.write("gemm.csv", "m,n,k,latency_ms\n1,6144,x,0.1\n0,6144,4096,0.1\n1,2,3,-1\n");
    std::fs::write(desk.path("latin.csv"), b"arrival_s,prompt_tokens,output_tokens\n0,1\xe9,5\n").expect("it is ours");
    let mut late = b"arrival_s,prompt_tokens,output_tokens\n".to_vec();
    (0..2000).for_each(|row| late.extend_from_slice(format!("{row},10,5\n").as_bytes()));
    late.extend_from_slice(b"3000,1\xe9\x1b[31m,5\n");
    std::fs::write(desk.path("late.csv"), late).expect("it is ours");
    for line in [
        "$PROGRAM run --trace trace.csv --model Llama3-8B --device H100 -q --efficiency-table gemm=gemm.csv",
        "$PROGRAM run --trace latin.csv --model Llama3-8B --device H100 -q",
        "$PROGRAM run --trace late.csv --model Llama3-8B --device H100 -q",
        "$PROGRAM run --trace $'\\xff.csv' --model Llama3-8B --device H100 -q",
        "$PROGRAM run $'\\xff.yaml' -q",
        "$PROGRAM run $'new\\nline.yaml' -q",
        "$PROGRAM run small.yaml --name $'a\\tb/c' -q",
        "$PROGRAM run small.yaml --set $'simulation.name=\"a\\\\tb/\\\\u001b\"' -q",
        "$PROGRAM devices $'\\x1b[31m'",
    ] {
        let told = bash(&desk, line);
        assert_eq!(told.code, 2, "{line}: {}", told.err);
        let strange = |c: char| c == char::REPLACEMENT_CHARACTER || (c.is_control() && c != '\n');
        assert!(!told.err.is_empty() && !told.err.contains(strange), "{line}: {}", told.err);
        for line in told.err.lines() {
            assert!(line.contains("error: "), "a finding without its place: {line}\n{}", told.err);
        }
    }
}
