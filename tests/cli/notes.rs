//! What is said before any figure: prices that rest on others' measurements, and settings that cost more than they bring.

use crate::Desk;

/// The notes of a run of four requests.
fn notes(desk: &Desk, flags: &str) -> Vec<String> {
    let summary = desk.summary(&format!("run --trace trace.csv {flags}"));
    let notes = summary["notes"].as_array().expect("a list").iter();
    notes.map(|note| note.as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_price_by_anothers_curve_is_named_at_the_top() {
    let desk = Desk::small();
    assert_eq!(notes(&desk, "--model Llama3-8B --device H100"), Vec::<String>::new());
    let derived = notes(&desk, "--model Llama3-8B --device GH200-96GB");
    assert_eq!(
        derived,
        ["GH200-96GB is priced by the efficiency curve of H100-SXM: its own kernels were not measured"]
    );
    let told = desk.run("run --trace trace.csv --model Llama3-8B --device GH200-96GB");
    assert!(told.out.starts_with("Note        GH200-96GB is priced by"), "{}", told.out);
    let constant = notes(&desk, "--model Llama3-8B --device H100 --mfu 0.4");
    assert_eq!(constant, ["H100-SXM-80GB is priced at constant efficiency (mfu 0.4, mbu 0.8) for all kernels"]);
    let named = notes(
        &desk,
        "--model Llama3-8B --device H100 --set hardware_profile.compute_devices[0].efficiency_curve=A100-SXM",
    );
    assert_eq!(named, ["H100-SXM-80GB is priced by the efficiency curve of A100-SXM, which the configuration names"]);
}

#[test]
fn more_that_is_slower_is_a_hint() {
    let desk = Desk::small();
    let ranks = notes(&desk, "--model Qwen/Qwen3-0.6B --device RTX-4090 --tp 4");
    assert!(ranks.iter().any(|note| note.starts_with("hint: slower here with 4 tensor-parallel ranks")), "{ranks:?}");
    for flags in [
        "--model Qwen/Qwen3-0.6B-FP8 --device H100",
        "--model Qwen/Qwen3-0.6B --device H100 --set frameworks_to_test[0].config.kv_cache_dtype=fp8",
    ] {
        let narrow = notes(&desk, flags);
        assert!(
            narrow.iter().any(|note| note.starts_with("hint: slower here with") && note.contains("8-bit")),
            "{narrow:?}"
        );
    }
    // Eight tensor-parallel ranks of a large model are not.
    assert_eq!(notes(&desk, "--model Llama3-70B --device H100 --tp 8"), Vec::<String>::new());
}

/// What a run rests on and is not beyond doubt is said, with the reason; what it does not rest on is not.
#[test]
fn doubtful_figures_are_named_where_a_run_rests_on_them() {
    let desk = Desk::small();
    let doubts = |flags: &str| -> String {
        let notes = notes(&desk, flags);
        notes.iter().filter(|note| note.contains(": not beyond doubt: ")).cloned().collect::<Vec<_>>().join("\n")
    };
    let b300 = doubts("--model Llama3-8B --device B300");
    assert!(b300.starts_with("B300-SXM: not beyond doubt: sustained FLOP/s (estimate: "), "{b300}");
    assert!(b300.contains("; memory bandwidth (62 TB/s of eight on one page") && !b300.contains("fp4"), "{b300}");
    let given = doubts("--model Llama3-8B --device B300 --set hardware_profile.compute_devices[0].memory_gbps=8000");
    assert!(!given.contains("memory bandwidth"), "{given}");
    // A link counts from two of them on.
    assert!(!doubts("--model Llama3-8B --device MI355X").contains("link between devices"));
    assert!(doubts("--model Llama3-8B --device MI355X --tp 2").contains("link between devices (seven links"));
    // Experts in MXFP4 are widened before they are multiplied.
    assert!(!doubts("--model gpt-oss-20B --device MI355X").contains("fp4 peak"));
    assert!(doubts("--model Llama3-8B-nvfp4 --device MI355X").contains("fp4 peak (pages disagree"));
    assert_eq!(doubts("--model Llama3-8B --device H100"), "");
}

#[test]
fn what_is_no_gpu_is_priced_by_its_own_figures() {
    let desk = Desk::small();
    for (device, shares) in
        [("TPU7x", "mfu 0.73, mbu 0.86"), ("v6e", "mfu 0.73, mbu 0.86"), ("trn2", "mfu 0.33, mbu 0.46")]
    {
        let notes = notes(&desk, &format!("--model Llama3-8B --device {device}"));
        assert!(
            notes[0].contains(&format!("is priced at constant shares of its own peaks for all kernels ({shares}): "))
        );
        assert!(notes.iter().all(|note| !note.contains("H100")), "{notes:?}");
        let named = format!(
            "--model Llama3-8B --device {device} --set hardware_profile.compute_devices[0].efficiency_curve=H100-SXM"
        );
        assert!(
            self::notes(&desk, &named)[0].contains("the efficiency curve of H100-SXM, which the configuration names")
        );
    }
    // A token of 8 billion parameters in 16 bits, at batch 1: 15 GB at 86 % of 7.38 TB/s, and the host's time.
    let summary = desk.summary("run --trace trace.csv --model Llama3-8B --device TPU7x --set frameworks_to_test[0].config.async_scheduling=true");
    let tpot_ms = crate::number(&summary, "/latency/time_per_output_token_ms/mean");
    let read_ms = 2.0 * (8.03e9 - 128_256.0 * 4096.0) / (0.86 * 7.38e12) * 1e3;
    assert!((1.0..1.3).contains(&(tpot_ms / read_ms)), "{tpot_ms} {read_ms}");
}

#[test]
fn without_peer_to_peer_collectives_go_through_the_hosts_memory() {
    let desk = Desk::small();
    let is_by_host = |flags: &str| {
        notes(&desk, flags).iter().any(|note| note.starts_with("these GPUs may not read each other's memory"))
    };
    let (model, key) = ("--model Qwen/Qwen3-8B --tp 2", "hardware_profile.peer_to_peer");
    for (device, by_driver) in
        [("RTX-4090", true), ("5090", true), ("L40S", false), ("RTX-PRO-6000", false), ("H100", false)]
    {
        assert_eq!(is_by_host(&format!("{model} --device {device}")), by_driver, "{device}");
        assert!(!is_by_host(&format!("{model} --device {device} --set {key}=true")), "{device}");
    }
    assert!(is_by_host(&format!("{model} --device L40S --set {key}=false")));
    let told = desk.run(&format!("run --trace trace.csv {model} --device L40S --set hardware_profile.p2p=false"));
    assert!(told.code == 2 && told.err.contains("did you mean peer_to_peer?"), "{}", told.err);
    // NVLink does not lead there, nor is there anything to send on one GPU.
    assert!(!is_by_host(&format!("{model} --device H100 --set {key}=false")));
    assert!(!is_by_host("--model Qwen/Qwen3-8B --device RTX-5090"));
    let tpot_ms = |flags: &str| {
        let summary = desk.summary(&format!("run --trace trace.csv {model} --device RTX-4090 {flags}"));
        crate::number(&summary, "/latency/time_per_output_token_ms/mean")
    };
    // 36 layers of two all-reduces, each some 7 to 20 µs longer than over the bus itself, and two more a pass.
    let longer_ms = tpot_ms("") - tpot_ms(&format!("--set {key}=true"));
    assert!((0.5..2.0).contains(&longer_ms), "{longer_ms}");
}

/// A plan rests on the same figures, and says so above its answers.
#[test]
fn a_plan_says_what_a_run_would_of_its_devices() {
    let desk = Desk::small();
    let load = "--rate 2 --requests 50 --prompt-tokens 200 --output-tokens 20 --model Llama3.1-8B --slo ttft_p99=1s -q";
    let told = desk.run(&format!("plan {load} --device B300,H100,TPU7x --tp 1 --format json"));
    let plan: serde_json::Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}", told.err));
    let notes: Vec<&str> = plan["notes"].as_array().expect("a list").iter().filter_map(|note| note.as_str()).collect();
    for beginning in [
        "B300-SXM is priced by the efficiency curve of B200-SXM",
        "B300-SXM: not beyond doubt: sustained FLOP/s",
        "TPU-v7 is priced at constant shares of its own peaks",
        "energy: what H100-SXM-80GB draws while idle and decoding is an estimate",
    ] {
        assert_eq!(notes.iter().filter(|note| note.starts_with(beginning)).count(), 1, "{beginning}: {notes:?}");
    }
    assert!(notes.iter().all(|note| !note.starts_with("hint") && !note.starts_with("H100-SXM-80GB is")), "{notes:?}");
}

/// Every run says how far off figures of its kind were, by the cohort nearest to it, or that nobody has measured its like.
#[test]
fn a_run_says_how_far_off_its_like_was() {
    let desk = Desk::small();
    let expected = |flags: &str| {
        let summary = desk.summary(&format!("run --trace trace.csv {flags}"));
        assert_eq!(summary["fidelity"].as_array().map(Vec::len), Some(1), "{flags}");
        summary["fidelity"][0].clone()
    };
    let same = expected("--model Llama3-8B --device H100");
    assert_eq!(same["kind"], "dense, bf16, H100-SXM-80GB, vLLM");
    let (of, because) = (&same["measured"]["kind"], &same["measured"]["because"]);
    assert_eq!((of, because), (&same["kind"], &serde_json::Value::Null));
    assert!(same["measured"]["points"].as_u64() > Some(30), "{same}");
    assert!(same["measured"]["tpot_median_pct"].as_f64() < same["measured"]["tpot_p90_pct"].as_f64(), "{same}");
    let relation = expected("--model Llama3-8B --device GH200-96GB");
    assert!(relation["measured"]["because"].as_str().is_some_and(|why| why.contains("the same curve")), "{relation}");
    let stranger = expected("--model Llama3-8B --device H100 --mfu 0.4");
    assert_eq!(
        stranger["measured"],
        serde_json::Value::Null,
        "constants are not the curve that was held against points"
    );
    let told = desk.run("run --trace trace.csv --model Llama3-8B --device H100 --overwrite");
    assert!(told.out.contains("Accuracy    TPOT ±"), "{}", told.out);
    let told = desk.run("run --trace trace.csv --model Llama3-8B --device H100 --mfu 0.4 --overwrite");
    assert!(told.out.contains("nobody has measured its like"), "{}", told.out);
}

/// The sentences under "Accuracy" that a text begins with.
fn accuracy(text: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for line in text.lines().skip_while(|line| !line.starts_with("Accuracy")) {
        match line.strip_prefix("Accuracy") {
            Some(first) => told.push(first.trim().to_owned()),
            None if line.starts_with("            ") => {
                let last = told.last_mut().expect("a first line came before");
                *last = format!("{last} {}", line.trim());
            }
            None => break,
        }
    }
    told
}

/// A sweep says it above its table once for all that are of a kind, and in each row; so does what goes on or merges, and the page.
#[test]
fn a_sweep_says_how_far_off_each_kind_was() {
    let desk = Desk::small();
    let own = accuracy(&desk.run("run --trace trace.csv --model Llama3-8B --device H100").out);
    assert_eq!(own.len(), 1);
    let sweep = "sweep --trace trace.csv --model Llama3-8B --device H100,GH200-96GB --tensor-parallel 1,2 -o swept";
    let told = desk.run(sweep);
    assert_eq!(told.code, 0, "{}", told.err);
    let kinds = accuracy(&told.out);
    assert!(kinds.len() == 2 && kinds[0] == own[0], "{}", told.out);
    let borrowed = "GH200-96GB is priced by the efficiency curve of H100-SXM: its own kernels were not measured";
    assert!(
        told.out.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(&format!("Note {borrowed} Acc")),
        "{}",
        told.out
    );
    assert!(kinds[1].ends_with("its own like (dense, bf16, GH200-96GB, vLLM) nobody has measured"), "{kinds:?}");
    assert_eq!(accuracy(&desk.run(sweep).out), kinds, "gone on with");
    assert_eq!(accuracy(&desk.run("merge swept").out), kinds);
    let rows: serde_json::Value = serde_json::from_str(&desk.run(&format!("{sweep} --format json")).out).expect("JSON");
    for (row, kind) in rows.as_array().expect("rows").iter().zip([0, 0, 1, 1]) {
        assert_eq!(row["notes"], if kind == 1 { borrowed.into() } else { serde_json::Value::Null });
        assert_eq!(
            (&row["accuracy"], &row["unmeasured_kernels"]),
            (&kinds[kind].as_str().into(), &serde_json::Value::Null)
        );
    }
    assert_eq!(desk.run("report swept").code, 0);
    let page = std::fs::read_to_string(desk.path("swept/report.html")).expect("it is there");
    assert!(page.contains(borrowed));
    assert!(kinds.iter().all(|kind| page.matches(&format!("Accuracy: {kind}.")).count() == 1));
}

/// The page of a run and a comparison say it, the comparison of which sides where these are of several kinds.
#[test]
fn a_page_and_a_comparison_say_how_far_off_their_figures_are() {
    let desk = Desk::small();
    let run = |folder: &str, flags: &str| {
        let told = desk.run(&format!("run --trace trace.csv --model Llama3-8B -o {folder} {flags}"));
        assert_eq!(told.code, 0, "{}", told.err);
        accuracy(&told.out)[0].clone()
    };
    let first = run("a", "--device H100");
    let second = run("b", "--device H100 --tensor-parallel 2");
    let third = run("c", "--device H100 --mfu 0.4");
    let constant = "C: H100-SXM-80GB is priced at constant efficiency (mfu 0.4, mbu 0.8) for all kernels";
    assert_eq!(first, second);
    assert_eq!(desk.run("report a").code, 0);
    let page = std::fs::read_to_string(desk.path("a/report.html")).expect("it is there");
    assert_eq!(page.matches(&format!("Accuracy: {first}.")).count(), 1);
    assert_eq!(accuracy(&desk.run("compare a b").out), std::slice::from_ref(&first));
    let told = desk.run("compare a b c");
    let words = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("Note {constant} Acc")), "{}", told.out);
    assert_eq!(accuracy(&told.out), [format!("A, B: {first}"), format!("C: {third}")]);
    let json: serde_json::Value = serde_json::from_str(&desk.run("compare a c --format json").out).expect("JSON");
    for (side, folder) in [(0, "a"), (1, "c")] {
        assert_eq!(json["sides"][side]["fidelity"], desk.json(&format!("{folder}/summary.json"))["fidelity"]);
    }
}

/// What part of a model's steps rests on no measurement of any device is named beside it, wherever that is said; of other models nothing is.
#[test]
fn kernels_that_nobody_has_measured_are_named() {
    let desk = Desk::small();
    let unmeasured = |flags: &str| {
        let told = desk.run(&format!("run --trace trace.csv {flags} --overwrite -o out"));
        assert_eq!(told.code, 0, "{flags}: {}", told.err);
        let sentence = desk.json("out/summary.json")["fidelity"][0]["unmeasured"].clone();
        if let Some(sentence) = sentence.as_str() {
            assert!(accuracy(&told.out)[0].ends_with(&format!(" {sentence}")), "{}", told.out);
        }
        sentence
    };
    let of = |model: &str, kernels: &str| {
        format!("{model}'s kernels of {kernels} are priced by roofline with a launch floor: nobody has measured them")
    };
    let hybrid = "--model Qwen/Qwen3-Next-80B-A3B-Instruct --device H200 --tensor-parallel 2";
    let next = of("Qwen3-Next-80B-A3B", "gated delta rule (36 of 48 layers)");
    assert_eq!(unmeasured(hybrid), next);
    assert_eq!(unmeasured(&format!("{hybrid} --mfu 0.4")), next.replace(" with a launch floor", ""));
    let sparse = "--model deepseek-ai/DeepSeek-V3.2 --device B200 --tensor-parallel 8";
    assert_eq!(unmeasured(sparse), of("DeepSeek-V3.2", "sparse attention's index (61 of 61 layers)"));
    assert_eq!(unmeasured("--model Llama3-8B --device H100"), serde_json::Value::Null);
    assert_eq!(unmeasured("--model gpt-oss-20B --device H100"), serde_json::Value::Null, "windows are measured");

    let told = desk.run(&format!("sweep --trace trace.csv {hybrid} --max-requests 2,4"));
    assert!(told.code == 0 && accuracy(&told.out)[0].ends_with(&format!(" {next}")), "{}{}", told.out, told.err);
    let page = desk.run("report output/sweep -o -").out;
    assert_eq!(page.matches(&next).count(), 1);
    let load = "--rate 1 --requests 10 --prompt-tokens 200 --output-tokens 20 --slo ttft_p99=9s -q --format json";
    let told = desk.run(&format!("plan {load} {}", hybrid.replace("H200", "H200,B200")));
    let plan: serde_json::Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}", told.err));
    let notes = plan["notes"].as_array().expect("a list").iter();
    assert_eq!(notes.filter(|note| **note == next).count(), 1, "once for both devices: {}", plan["notes"]);
}

/// How many tokens a pool of several kinds of layers holds depends on how long contexts are; of one kind it does not.
#[test]
fn a_pool_of_several_kinds_of_layers_says_of_which_contexts_its_tokens_are() {
    let desk = Desk::small();
    let pool = |flags: &str| {
        let told = desk.run(&format!("run --trace trace.csv {flags} --overwrite -o out"));
        assert_eq!(told.code, 0, "{flags}: {}", told.err);
        let words = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
        (words, desk.json("out/summary.json")["deployment"][0].clone())
    };
    let (words, deployment) = pool("--model Qwen/Qwen3-Next-80B-A3B-Instruct --device H200 --tensor-parallel 2");
    assert!(words.contains("tokens an engine in contexts of 262144, fewer in shorter ones), weights"), "{words}");
    assert_eq!(deployment["kv_pool_context_tokens"], 262_144);
    let page = desk.run("report out -o -").out;
    assert!(page.contains(" tokens (in contexts of 262144, fewer in shorter ones) an engine"));
    let (words, deployment) = pool("--model Llama3-8B --device H100");
    assert!(words.contains("tokens an engine), weights"), "{words}");
    assert_eq!(deployment.get("kv_pool_context_tokens"), None);
}
