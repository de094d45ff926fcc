//! Formats of traces: rows in exactly the layout of each, what is left out of them, and what is refused.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use llmperforacle::workload::{
    Clock, SessionTimes, TRACE_FORMATS, TraceColumns, TraceFormat, TraceOptions, TraceSource, TraceWorkload,
};
use oracle_components::request::RequestSpec;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel};
use parquet::file::properties::WriterProperties;

use super::traces::{basics, read, written};

fn error(name: &str, content: impl AsRef<[u8]>, options: &TraceOptions) -> String {
    let (_folder, workload) = written(name, content);
    let opened = TraceSource::open(&TraceWorkload { options: options.clone(), ..workload });
    opened.map(drop).expect_err("it is refused").to_string()
}

/// Requests and what is said of the file.
fn taken(name: &str, content: impl AsRef<[u8]>, options: &TraceOptions) -> (Vec<RequestSpec>, Vec<String>) {
    let (_folder, workload) = written(name, content);
    let workload = TraceWorkload { options: options.clone(), ..workload };
    let specs = read(&workload);
    let facts = TraceSource::open(&workload).expect("sound").facts();
    (specs, facts.trace.expect("it is a trace").remarks)
}

fn plain() -> TraceOptions {
    TraceOptions::default()
}

/// The lengths of the segments that each prompt begins with.
fn blocks(specs: &[RequestSpec]) -> Vec<Vec<u32>> {
    specs.iter().map(|spec| spec.prefix.iter().map(|segment| segment.tokens).collect()).collect()
}

fn ms(times: &[(u64, u32, u32)]) -> Vec<(u64, u32, u32)> {
    times.iter().map(|&(ms, prompt, output)| (ms * 1_000_000, prompt, output)).collect()
}

#[test]
fn tables_by_their_headers() {
    for (name, text, expected) in [
        (
            "azure2025.csv",
            "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15T00:00:00.000000Z,0,396,44\n2024-10-15T00:00:01.500000+00:00,0,9,1\n",
            [(0, 396, 44), (1500, 9, 1)],
        ),
        (
            "azure2024.csv",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:00.017930+00:00,2399,6\n",
            [(0, 2162, 5), (8, 2399, 6)],
        ),
        (
            "burst.csv",
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,230,1317,API log\n",
            [(0, 472, 18), (40_000, 1087, 230)],
        ),
        (
            "burst12.csv",
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n5.25,7,3.5,ChatGPT,472,18,490,Conversation log\n6.25,,2,GPT-4,10,20,30,API log\n",
            [(0, 472, 18), (1000, 10, 20)],
        ),
        (
            "splitwise.csv",
            "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n0,2,0,0.0,1,374,44\n1,2,0,0.25,1,396,109\n",
            [(0, 374, 44), (250, 396, 109)],
        ),
        (
            "vidur.csv",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.3,396,109\n",
            [(0, 374, 44), (4300, 396, 109)],
        ),
    ] {
        assert_eq!(basics(&taken(name, text, &plain()).0), ms(&expected), "{name}");
    }
}

#[test]
fn images_count_or_are_refused() {
    let text =
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15T00:00:00Z,0,5,1\n2024-10-15T00:00:01Z,2,100,7\n";
    let told = error("lmm.csv", text, &plain());
    assert!(told.contains("lmm.csv:3: NumImages is 2") && told.contains("--image-tokens"), "{told}");
    for (each, prompt) in [(0, 100), (576, 1252)] {
        let options = TraceOptions { image_tokens: Some(each), ..plain() };
        let (specs, remarks) = taken("lmm.csv", text, &options);
        assert_eq!((specs[1].prompt_tokens, specs[1].encoder_tokens), (prompt, 0));
        assert!(remarks[0].contains("the time of the vision encoder for NumImages is left out"), "{remarks:?}");
        let options = TraceOptions { encoder_tokens: Some(1024), ..options };
        let (specs, remarks) = taken("lmm.csv", text, &options);
        let tokens: Vec<_> = specs.iter().map(|spec| (spec.prompt_tokens, spec.encoder_tokens)).collect();
        assert_eq!(tokens, [(5, 0), (prompt, 2048)]);
        assert!(remarks.is_empty(), "{remarks:?}");
    }
    let options = TraceOptions { image_tokens: Some(0), encoder_tokens: Some(9_000_000), ..plain() };
    let told = error("lmm.csv", text, &options);
    assert!(told.contains("lmm.csv:3: ") && told.contains("18000000; at most 10000000"), "{told}");
    let (_, remarks) = taken("plain.csv", "arrival_s,prompt_tokens,output_tokens\n0,1,2\n", &options);
    assert!(remarks[0].contains("encoder_tokens) has no effect: no request has images"), "{remarks:?}");
    let encoded = |name: &str, text: &str, options: &TraceOptions| -> Vec<u32> {
        taken(name, text, options).0.iter().map(|spec| spec.encoder_tokens).collect()
    };
    let table = "arrival_s,prompt_tokens,output_tokens,encoder_tokens\n0,100,7,1024\n1,100,7,\n2,100,7,0\n";
    assert_eq!(encoded("own.csv", table, &plain()), [1024, 0, 0]);
    let objects = "{\"arrival_s\": 0, \"prompt_tokens\": 10, \"output_tokens\": 1, \"encoder_tokens\": 77}\n";
    assert_eq!(encoded("own.jsonl", objects, &plain()), [77]);
    // Turns of sessions keep theirs.
    let closed = TraceOptions { sessions: Some(SessionTimes::Closed), ..plain() };
    assert_eq!(encoded("own.csv", table, &closed), [1024, 0, 0]);
}

#[test]
fn failures_are_not_answers() {
    let text = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,API log\n46,GPT-4,0,0,0,API log\n50,GPT-4,3,4,7,API log\n";
    let (specs, remarks) = taken("burst.csv", text, &plain());
    assert_eq!(basics(&specs), ms(&[(0, 472, 18), (45_000, 3, 4)]));
    let told = remarks.join("\n");
    assert!(told.contains("2 rows left out (Response tokens is 0: the request failed)"), "{told}");
    assert!(told.contains("not used: Model, Total tokens, Log Type"), "{told}");
}

#[test]
fn lengths_without_times_need_a_load() {
    let vidur = "num_prefill_tokens,num_decode_tokens,pd_ratio\n374,44,8.5\n";
    let told = error("lengths.csv", vidur, &plain());
    assert!(told.contains("no column \"arrived_at\""), "{told}");
    let retimed = TraceOptions { retimed: true, ..plain() };
    assert_eq!(basics(&taken("lengths.csv", vidur, &retimed).0), [(0, 374, 44)]);

    let sharegpt = r#"[{"id":"x","conversations":[{"from":"human","value":"hello"},{"from":"gpt","value":"hi"}]},
        {"conversations":[{"from":"human","value":"alone"}]}]"#;
    let told = error("sharegpt.json", sharegpt, &plain());
    assert!(told.contains("a ShareGPT file: it has no times; give --rate"), "{told}");
    let told = error("sharegpt.json", sharegpt, &retimed);
    assert!(told.contains("no token counts") && told.contains("--chars-per-token"), "{told}");
    let estimated = TraceOptions { chars_per_token: Some(4.0), ..retimed };
    let (specs, remarks) = taken("sharegpt.json", sharegpt, &estimated);
    assert_eq!(basics(&specs), [(0, 2, 1)]);
    assert!(remarks[0].contains("1 rows left out"), "{remarks:?}");

    let custom = "{\"prompt\": \"Why is the sky blue?\", \"output_tokens\": 200}\n";
    assert!(error("custom.jsonl", custom, &plain()).contains("vllm bench: it has no times; give --rate"));
    assert_eq!(basics(&taken("custom.jsonl", custom, &estimated).0), [(0, 5, 200)]);
}

#[test]
fn a_benchmarks_result_says_what_it_is() {
    let lengths = r#"{"backend":"vllm","model_id":"m","num_prompts":3,"request_rate":2.0,"input_lens":[100,200,5],"output_lens":[10,20,0],"ttfts":[0.03,0.04,0],"errors":["","","timeout"]}"#;
    let told = error("bench.json", lengths, &plain());
    assert!(
        told.contains("a benchmark's result") && told.contains("validate-run") && told.contains("--rate"),
        "{told}"
    );
    let retimed = TraceOptions { retimed: true, ..plain() };
    let (specs, remarks) = taken("bench.json", lengths, &retimed);
    assert_eq!(basics(&specs), [(0, 100, 10), (0, 200, 20)]);
    assert!(remarks[0].contains("1 rows left out"), "{remarks:?}");
    let timed = lengths.replace("\"ttfts\"", "\"start_times\":[12.5,12.0,13.0],\"ttfts\"");
    assert_eq!(basics(&taken("bench.json", timed, &plain()).0), ms(&[(0, 200, 20), (500, 100, 10)]));
    let summary = r#"{"backend":"vllm","request_throughput":1.5,"mean_ttft_ms":20.0}"#;
    assert!(error("bench.json", summary, &plain()).contains("--save-detailed"));
}

#[test]
fn mooncakes_dialects() {
    let aliases = "{\"created_time\":0,\"input_tokens\":655,\"output_tokens\":52,\"hash_ids\":[1,2]}\n\
        {\"created_time\":1500.5,\"input_tokens\":600,\"output_tokens\":5,\"hash_ids\":[1,3],\"colour\":\"red\"}\n";
    let (specs, remarks) = taken("alias.jsonl", aliases, &plain());
    assert_eq!(basics(&specs), [(0, 655, 52), (1_500_500_000, 600, 5)]);
    assert_eq!(blocks(&specs), [[512, 143], [512, 88]]);
    assert!(remarks[0].contains("fields that are not used: colour"), "{remarks:?}");

    let small = "{\"timestamp\":0,\"input_length\":655,\"output_length\":52,\"hash_ids\":[1,2,3,4,5,6,7,8,9,10,11]}\n";
    assert!(error("blocks64.jsonl", small, &plain()).contains("give --trace-block-size 64"));
    let options = TraceOptions { block_tokens: Some(64), ..plain() };
    assert_eq!(blocks(&taken("blocks64.jsonl", small, &options).0), [[vec![64; 10], vec![15]].concat()]);

    let large = "{\"timestamp\":0,\"input_length\":4096,\"output_length\":5,\"hash_ids\":[1,2,3,4]}\n".repeat(2);
    assert!(error("blocks1024.jsonl", &large, &plain()).contains("2 of 2 prompts have fewer hash_ids"));
}

#[test]
fn seconds_are_not_taken_for_milliseconds() {
    for times in [["0", "10.535", "27.482"], ["0", "1", "3"], ["1700000000", "1700000001", "1700000004"]] {
        let lines = times.map(|time| format!("{{\"timestamp\":{time},\"input_length\":5,\"output_length\":2}}\n"));
        let told = error("seconds.jsonl", lines.concat(), &plain());
        assert!(told.contains("look like seconds") && told.contains("--trace-time-unit s"), "{told}");
        let seconds = TraceOptions { clock: Some(Clock::Seconds), ..plain() };
        let last = basics(&taken("seconds.jsonl", lines.concat(), &seconds).0)[2].0;
        assert!((3_000_000_000..=27_482_000_000).contains(&last), "{last}");
        let milliseconds = TraceOptions { clock: Some(Clock::Milliseconds), ..plain() };
        assert_eq!(basics(&taken("ms.jsonl", lines.concat(), &milliseconds).0)[2].0 * 1000, last);
    }
    // All at once is a load, and so is a burst among others.
    let burst = [0, 0, 1, 2, 9000].map(|t| format!("{{\"timestamp\":{t},\"input_length\":5,\"output_length\":2}}\n"));
    assert_eq!(taken("burst.jsonl", burst.concat(), &plain()).0.len(), 5);
    assert_eq!(taken("once.jsonl", burst[0].repeat(9), &plain()).0.len(), 9);
}

#[test]
fn bailians_chats_are_whole_prompts() {
    let text = "{\"chat_id\": 159, \"parent_chat_id\": -1, \"timestamp\": 61.114, \"input_length\": 40, \"output_length\": 13, \"type\": \"text\", \"turn\": 1, \"hash_ids\": [1089, 1090, 1091]}\n\
        {\"chat_id\": 160, \"parent_chat_id\": -1, \"timestamp\": 61.5, \"input_length\": 16, \"output_length\": 2, \"type\": \"search\", \"turn\": 1, \"hash_ids\": [1089]}\n\
        {\"chat_id\": 161, \"parent_chat_id\": 159, \"timestamp\": 70.114, \"input_length\": 64, \"output_length\": 3, \"type\": \"text\", \"turn\": 2, \"hash_ids\": [1089, 1090, 1092, 7]}\n\
        {\"chat_id\": 170, \"parent_chat_id\": 161, \"timestamp\": 71.114, \"input_length\": 80, \"output_length\": 3, \"type\": \"text\", \"turn\": 3, \"hash_ids\": [1089, 1090, 1092, 7, 8]}\n\
        {\"chat_id\": 171, \"parent_chat_id\": 5, \"timestamp\": 72.114, \"input_length\": 80, \"output_length\": 3, \"type\": \"text\", \"turn\": 3}\n";
    let (specs, _) = taken("bailian.jsonl", text, &plain());
    assert_eq!(basics(&specs)[2], (9_000_000_000, 64, 3));
    assert_eq!(blocks(&specs), [vec![16, 16, 8], vec![16], vec![16; 4], vec![16; 5], vec![]]);
    let sessions: Vec<_> = specs.iter().map(|spec| (spec.session, spec.turn)).collect();
    assert_eq!(sessions, [(0, 0), (1, 0), (0, 1), (0, 2), (2, 0)]);
    assert_eq!(specs[0].prefix[1], specs[3].prefix[1]);
}

#[test]
fn bailians_chats_have_one_row_each_behind_their_parents() {
    let row = |chat, parent, at| {
        format!(
            "{{\"chat_id\": {chat}, \"parent_chat_id\": {parent}, \"timestamp\": {at}, \"input_length\": 40, \"output_length\": 13}}\n"
        )
    };
    let orphans = row(9, 4, 0) + &row(10, 4, 1) + &row(11, 5, 2);
    let (_, remarks) = taken("bailian.jsonl", orphans, &plain());
    assert!(remarks[0].contains("2 chats go on from one that has no row above them"), "{remarks:?}");
    for (text, told) in [
        (row(1, -1, 0) + &row(1, -1, 1), "bailian.jsonl:2: another row has chat_id 1 too"),
        (
            row(1, 2, 0) + &row(2, 1, 1),
            "bailian.jsonl:2: a row above goes on from chat_id 2, which must come before it",
        ),
        (row(3, 3, 0), "bailian.jsonl:1: chat_id 3 is its own parent"),
    ] {
        let found = error("bailian.jsonl", text, &plain());
        assert!(found.contains(told), "{found}");
    }
}

/// Peers that replay these files take an id for the tokens of its block alone.
#[test]
fn an_id_is_a_block_behind_what_is_before_it() {
    let row =
        |ids| format!("{{\"timestamp\": 0, \"input_length\": 1536, \"output_length\": 2, \"hash_ids\": {ids}}}\n");
    let text = ["[1, 1, 1]", "[1, 1, 2]", "[2, 1, 1]", "[1, 1, 1]"].map(row).concat();
    let (specs, _) = taken("mooncake.jsonl", text, &plain());
    let keys: Vec<Vec<u64>> = specs.iter().map(|spec| spec.prefix.iter().map(|piece| piece.key).collect()).collect();
    assert_eq!(keys[0], keys[3]);
    assert_eq!(keys[0][..2], keys[1][..2]);
    let distinct: std::collections::HashSet<u64> = keys.iter().flatten().copied().collect();
    assert_eq!(distinct.len(), 3 + 1 + 3, "{keys:?}");
}

#[test]
fn lengths_that_a_table_wrote_are_whole_numbers() {
    let row = |length| format!("{{\"timestamp\": 0, \"input_length\": {length}, \"output_length\": 2.0}}\n");
    assert_eq!(basics(&taken("mooncake.jsonl", row("1200.0"), &plain()).0), [(0, 1200, 2)]);
    for length in ["1200.5", "-3", "1e300"] {
        let told = error("mooncake.jsonl", row(length), &plain());
        assert!(told.contains("mooncake.jsonl:1: "), "{told}");
    }
    let text = r#"{"timestamp": 0, "text_input": "hello", "output_length": 4}"#;
    assert!(error("mooncake.jsonl", text, &plain()).contains("mooncake.jsonl:1: it has a text and no input_length"));
}

#[test]
fn milliseconds_that_could_be_seconds_are_told() {
    let rows = |gap: u64| {
        let row = |at| format!("{{\"timestamp\": {at}, \"input_length\": 5, \"output_length\": 2}}\n");
        (0..6).map(|at| row(at * gap)).collect::<String>()
    };
    let (_, remarks) = taken("mooncake.jsonl", rows(20), &plain());
    assert!(remarks[0].contains("taken for milliseconds: 50 requests a second"), "{remarks:?}");
    assert!(taken("mooncake.jsonl", rows(200), &plain()).1.is_empty());
    let said = TraceOptions { clock: Some(Clock::Milliseconds), ..plain() };
    assert!(taken("mooncake.jsonl", rows(20), &said).1.is_empty());
}

#[test]
fn turns_at_times_go_forward() {
    let turn = |at| {
        format!(
            "{{\"session_id\": \"a\", \"timestamp\": {at}, \"input_length\": 40, \"output_length\": 1, \"hash_ids\": [1]}}\n"
        )
    };
    assert_eq!(taken("mooncake.jsonl", turn(500) + &turn(500) + &turn(900), &plain()).0.len(), 3);
    let told = error("mooncake.jsonl", turn(500) + &turn(100), &plain());
    assert!(
        told.contains("mooncake.jsonl:2: timestamp is 100, but that of the turn before it in its session 500"),
        "{told}"
    );
}

#[test]
fn a_run_has_no_prompt_with_one_piece_twice() {
    let row = |prefix| {
        format!(
            "request_id,client_id,session_id,prompt_tokens,max_output_tokens,output_tokens,arrival_time,profile,turn,priority,streaming,target_output_tokens,timeout_ms,prefix,tail_key\nreq_0,c_0,sess_0,64,4,4,0.0,p,0,0,true,4,,{prefix},\n"
        )
    };
    assert_eq!(blocks(&taken("requests.csv", row("a:16 b:16"), &plain()).0), [[16, 16]]);
    let told = error("requests.csv", row("a:16 b:16 a:16"), &plain());
    assert!(told.contains("requests.csv:2: prefix names 000000000000000a twice"), "{told}");
}

#[test]
fn a_trace_of_bad_rows_alone_says_so() {
    let text = "arrival_s,prompt_tokens,output_tokens\n0,-5,1\n1,x,1\n";
    let told = error("bad.csv", text, &TraceOptions { skip_bad_rows: true, ..plain() });
    assert!(told.contains("no request to replay: ") && told.contains("2 bad rows skipped, the first: "), "{told}");
}

#[test]
fn llmservingsims_tokens_are_shared_beginnings() {
    let ids = |last: u32| (0..33).map(|id| if id == 32 { last } else { id }).collect::<Vec<_>>();
    let line = |time, last| {
        format!(
            "{{\"input_toks\": 33, \"output_toks\": 4, \"arrival_time_ns\": {time}, \"input_tok_ids\": {:?}}}\n",
            ids(last)
        )
    };
    let text =
        line(5, 1) + &line(1_000_005, 2) + "{\"input_toks\": 9, \"output_toks\": 4, \"arrival_time_ns\": 2000005}\n";
    let (specs, _) = taken("sim.jsonl", text, &plain());
    assert_eq!(basics(&specs), ms(&[(0, 33, 4), (1, 33, 4), (2, 9, 4)]));
    assert_eq!(blocks(&specs), [vec![16, 16, 1], vec![16, 16, 1], vec![]]);
    assert_eq!(specs[0].prefix[..2], specs[1].prefix[..2]);
    assert_ne!(specs[0].prefix[2], specs[1].prefix[2]);
}

#[test]
fn rows_in_order_of_their_ends() {
    let dynamo = "{\"timestamp\":9,\"event\":{\"schema\":\"dynamo.request.trace.v1\",\"event_type\":\"request_end\",\"event_time_unix_ms\":1700000000900,\"agent_context\":{\"session_id\":\"s\"},\"request\":{\"request_id\":\"b\",\"input_tokens\":100,\"output_tokens\":9,\"request_received_ms\":1700000000500,\"replay\":{\"trace_block_size\":64,\"input_length\":100,\"input_sequence_hashes\":[18446744073709551615,2]}}}}\n\
        {\"timestamp\":10,\"event\":{\"schema\":\"dynamo.request.trace.v1\",\"event_type\":\"tool_end\",\"event_time_unix_ms\":1700000000900,\"tool\":{\"tool_call_id\":\"t\",\"tool_class\":\"sh\"}}}\n\
        {\"schema\":\"dynamo.request.trace.v1\",\"event_type\":\"request_end\",\"event_time_unix_ms\":1700000002000,\"request\":{\"request_id\":\"a\",\"input_tokens\":50,\"output_tokens\":8,\"request_received_ms\":1700000000000}}\n";
    let (specs, _) = taken("dynamo.jsonl", dynamo, &plain());
    assert_eq!(basics(&specs), ms(&[(0, 50, 8), (500, 100, 9)]));
    assert_eq!(blocks(&specs), [vec![], vec![64, 36]]);

    let line = |start, phase: &str, rest: &str| {
        format!(
            "{{\"metadata\":{{\"session_num\":1,\"x_request_id\":\"r\",\"x_correlation_id\":\"c\",\"conversation_id\":\"d\",\"turn_index\":0,\"request_start_ns\":{start},\"request_end_ns\":9,\"benchmark_phase\":\"{phase}\",\"was_cancelled\":false}},{rest}}}\n"
        )
    };
    let good = "\"metrics\":{\"input_sequence_length\":{\"value\":550,\"unit\":\"tokens\"},\"output_sequence_length\":{\"value\":128,\"unit\":\"tokens\"},\"request_latency\":{\"value\":5.5,\"unit\":\"ms\"}},\"error\":null";
    let bad = "\"metrics\":{},\"error\":{\"code\":500,\"message\":\"no\"}";
    let text = line(7_000_000, "profiling", good)
        + &line(1_000_000, "warmup", good)
        + &line(2_000_000, "profiling", good)
        + &line(3_000_000, "profiling", bad);
    let (specs, remarks) = taken("profile_export.jsonl", text, &plain());
    assert_eq!(basics(&specs), ms(&[(0, 550, 128), (5, 550, 128)]));
    assert!(remarks.len() == 2 && remarks[1].contains("the request failed"), "{remarks:?}");

    let benchmark = r#"{"type_":"generative_benchmark","requests":{"successful":[
        {"request_id":"b","request_start_time":1700000001.5,"prompt_tokens":256,"output_tokens":128,"output":"x\"}]"},
        {"request_id":"a","start_time":1700000001.0,"prompt_tokens":250,"output_tokens":100}],"errored":[],"incomplete":[{"request_id":"c"}]}}"#;
    let report = format!("{{\"metadata\":{{}},\n\"benchmarks\":[{benchmark}]}}\n");
    let (specs, remarks) = taken("benchmarks.json", report, &plain());
    assert_eq!(basics(&specs), ms(&[(0, 250, 100), (500, 256, 128)]));
    assert!(remarks[0].contains("1 rows left out (incomplete"), "{remarks:?}");
    let two = format!("{{\"benchmarks\":[{benchmark},{benchmark}]}}");
    assert!(error("benchmarks.json", two, &plain()).contains("it holds 2 benchmarks"));
}

#[test]
fn columns_by_name() {
    let text = "in,ts,who,out,more\n100,2500,a,7,x\n200,2600.5,b,8,y\n";
    let columns = TraceColumns {
        arrival: Some(("ts".into(), Clock::Milliseconds)),
        prompt: "in".into(),
        output: "out".into(),
        max_output: None,
        session: Some("who".into()),
        priority: None,
        abort: None,
        images: None,
        encoder_tokens: None,
    };
    let options = TraceOptions { columns: Some(Box::new(columns.clone())), ..plain() };
    let (specs, remarks) = taken("own.csv", text, &options);
    assert_eq!(basics(&specs), [(0, 100, 7), (100_500_000, 200, 8)]);
    assert!(remarks[0].contains("not used: more"), "{remarks:?}");
    let json = "[{\"ts\": 1, \"in\": 5, \"out\": 6, \"who\": null},\n {\"ts\": 3, \"in\": 5, \"out\": 6}]";
    assert_eq!(basics(&taken("own.json", json, &options).0), ms(&[(0, 5, 6), (2, 5, 6)]));
    let with_images = TraceColumns { images: Some("out".into()), ..columns.clone() };
    let options = TraceOptions { columns: Some(Box::new(with_images)), image_tokens: Some(10), ..plain() };
    let (specs, remarks) = taken("own.json", json, &options);
    assert_eq!((specs[0].prompt_tokens, specs[0].encoder_tokens), (65, 0));
    assert!(remarks.iter().any(|remark| remark.contains("vision encoder for out is left out")), "{remarks:?}");
    let with_tokens = TraceColumns { encoder_tokens: Some("out".into()), ..columns.clone() };
    let options = TraceOptions { columns: Some(Box::new(with_tokens)), ..plain() };
    assert_eq!(taken("own.csv", text, &options).0[1].encoder_tokens, 8);
    let named = TraceColumns { prompt: "input".into(), ..columns };
    let named = TraceOptions { columns: Some(Box::new(named)), ..plain() };
    let told = error("own.csv", text, &named);
    assert!(told.contains("own.csv:1: there is no column \"input\""), "{told}");
    let told = error("own.json", json, &named);
    assert!(told.contains("missing field `input`"), "{told}");
    assert!(error("own.csv", text, &plain()).contains("--trace-columns"));
}

#[test]
fn columns_that_mean_nothing_are_told() {
    let text = "arrival_s,prompt_tokens,output_tokens,abort_ns,prompt_tokens\n0,1,2,3,4\n";
    let (specs, remarks) = taken("odd.csv", text, &plain());
    assert_eq!(basics(&specs), [(0, 1, 2)]);
    let told = remarks.join("\n");
    assert!(told.contains("there twice, of which the first is read: prompt_tokens"), "{told}");
    assert!(told.contains("not used: abort_ns (did you mean abort_s?)"), "{told}");
}

#[test]
fn bad_rows_are_skipped_and_counted() {
    let text = "arrival_s,prompt_tokens,output_tokens\n0,1,2\n1,many,2\n2,3,4\n1.5,3,4\n3,5,6\n";
    let options = TraceOptions { skip_bad_rows: true, ..plain() };
    let (specs, remarks) = taken("bad.csv", text, &options);
    assert_eq!(basics(&specs), ms(&[(0, 1, 2), (2000, 3, 4), (3000, 5, 6)]));
    assert!(
        remarks[0].contains("2 bad rows skipped, the first: ") && remarks[0].contains("bad.csv:3: "),
        "{remarks:?}"
    );
}

fn formats() -> impl Iterator<Item = TraceFormat> {
    TRACE_FORMATS.into_iter().map(|(_, format)| format)
}

#[test]
fn a_named_format_must_fit() {
    let (_folder, workload) = written("t.csv", "arrival_s,prompt_tokens,output_tokens\n0,1,2\n");
    let taking: usize =
        formats().filter(|&format| TraceSource::open(&TraceWorkload { format, ..workload.clone() }).is_ok()).count();
    // Detected and generic.
    assert_eq!(taking, 2);
    let names: std::collections::BTreeSet<_> = TRACE_FORMATS.map(|(name, _)| name).into();
    assert_eq!(names.len(), TRACE_FORMATS.len());
}

#[test]
fn archives_are_unpacked_and_broken_ones_refused() {
    let text: String = "arrival_s,prompt_tokens,output_tokens\n".to_owned()
        + &(0..50_000).map(|row| format!("{row},{},2\n", 1 + row * 7 % 1000)).collect::<String>();
    let whole = basics(&taken("t.csv", &text, &plain()).0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory takes it");
    let gzip = gzip.finish().expect("memory takes it");
    let zstd = zstd::encode_all(text.as_bytes(), 1).expect("memory takes it");
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).expect("sound options");
    xz.write_all(text.as_bytes()).expect("memory takes it");
    let xz = xz.finish().expect("memory takes it");
    for (name, archive) in [("t.csv.gz", gzip), ("t.csv.zst", zstd), ("t.csv.xz", xz)] {
        assert_eq!(basics(&taken(name, &archive, &plain()).0), whole, "{name}");
        let told = error(name, &archive[..archive.len() - 20], &plain());
        assert!(told.contains(name) && told.contains("broken or cut short"), "{told}");
        let mut damaged = archive.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 50].fill(0x55);
        error(name, &damaged, &plain());
    }
    // Two archives in a row are one file, as `cat` and Dynamo make them.
    let (head, tail) = text.split_at(text.len() / 2);
    let parts = [head, tail].map(|part| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(part.as_bytes()).expect("memory takes it");
        gzip.finish().expect("memory takes it")
    });
    assert_eq!(basics(&taken("t.csv.gz", parts.concat(), &plain()).0), whole);
}

#[test]
fn parquet_by_the_names_of_its_columns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("azure.parquet");
    let columns: [(&str, ArrayRef); 4] = [
        ("note", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ("GeneratedTokens", Arc::new(Int64Array::from(vec![4, 5, 6]))),
        (
            "TIMESTAMP",
            Arc::new(TimestampNanosecondArray::from(vec![
                1_700_000_000_000_000_001,
                1_700_000_001_000_000_001,
                1_700_000_001_500_000_001,
            ])),
        ),
        ("ContextTokens", Arc::new(Float64Array::from(vec![10.0, 20.0, 30.0]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("they fit");
    let mut writer =
        ArrowWriter::try_new(File::create(&path).expect("it can be written"), batch.schema(), None).expect("sound");
    writer.write(&batch).expect("it can be written");
    writer.flush().expect("it can be written");
    writer.close().expect("it can be written");
    let bytes = std::fs::read(&path).expect("it is there");
    let expected = ms(&[(0, 10, 4), (1000, 20, 5), (1500, 30, 6)]);
    let (specs, remarks) = taken("azure.parquet", &bytes, &plain());
    assert_eq!(basics(&specs), expected);
    assert!(remarks[0].contains("not used: note"), "{remarks:?}");
    let packed = zstd::encode_all(&bytes[..], 1).expect("memory takes it");
    assert_eq!(basics(&taken("azure.parquet.zst", packed, &plain()).0), expected);
    // What pandas, DuckDB, Spark and polars write.
    for codec in [Compression::SNAPPY, Compression::GZIP(GzipLevel::default()), Compression::LZ4_RAW] {
        let properties = WriterProperties::builder().set_compression(codec).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("sound");
        writer.write(&batch).expect("memory takes it");
        let bytes = writer.into_inner().expect("memory takes it");
        assert_eq!(basics(&taken("packed.parquet", bytes, &plain()).0), expected, "{codec:?}");
    }
    let told = error("azure.parquet", &bytes[..bytes.len() - 9], &plain());
    assert!(told.contains("azure.parquet: the Parquet file is broken or cut short"), "{told}");
}

#[test]
fn documents_over_many_lines() {
    let object = |time| {
        format!(
            "{{\n  \"timestamp\": {time},\n  \"input_length\": 5,\n  \"output_length\": 2,\n  \"text\": \"a]}}\\\"\"\n}}"
        )
    };
    let array = format!("\u{feff}\n[{},\n{}]\n", object(0), object(4000));
    assert_eq!(basics(&taken("array.json", array, &plain()).0), ms(&[(0, 5, 2), (4000, 5, 2)]));
    let list = format!("{}\n{}\n", object(0), object(4000));
    assert_eq!(taken("list.json", list, &plain()).0.len(), 2);
    let cut = format!("[{},\n{}\n", object(0), object(4000));
    assert!(error("cut.json", cut, &plain()).contains("cut short"));
    let wrong = format!("[{},\n{}]\n", object(0), object(4000).replace("input", "inptu"));
    let told = error("wrong.json", wrong, &plain());
    assert!(told.contains("wrong.json:7: missing field `input_length`"), "{told}");
    assert!(error("odd.json", "{\"a\": 1, \"b\": 2}\n", &plain()).contains("fields \"a, b\""));
}
