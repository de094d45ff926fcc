//! What the catalog says of collectives, against the measurements that it was fitted to in part, and by law.

use std::fs;

use llmperforacle::catalog::{Catalog, LinkKind, MeasuredCollective, fit_protocols};
use oracle_components::collectives::{GroupFabric, Protocol};
use oracle_systems::costing::{Operation, collective_seconds};

use crate::shared;

fn group(kind: LinkKind, gb_per_s: f64) -> GroupFabric {
    let local = Catalog::builtin().fabric(kind, gb_per_s * 1e9, true).expect("the catalog has this kind");
    GroupFabric { local, custom_all_reduce: true, across: None }
}

/// A measured collective.
struct Measured {
    gpu: String,
    operation: Operation,
    implementation: String,
    version: String,
    ranks: u32,
    bytes: f64,
    seconds: f64,
}

fn measured() -> Option<Vec<Measured>> {
    let Some(folder) = shared() else {
        eprintln!("skipped: no shared data; set LLMPERFORACLE_SHARED");
        return None;
    };
    let text = fs::read_to_string(folder.join("kernels/collectives.csv")).expect("the shared data has collectives");
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        Measured {
            gpu: cells[0].to_owned(),
            operation: match cells[1] {
                "all_reduce" => Operation::AllReduce,
                "all_gather" => Operation::AllGather,
                "reduce_scatter" => Operation::ReduceScatter,
                _ => Operation::AllToAll,
            },
            implementation: cells[2].to_owned(),
            version: cells[3].to_owned(),
            ranks: cells[4].parse().expect("a number"),
            bytes: cells[5].parse().expect("a number"),
            seconds: cells[6].parse::<f64>().expect("a number") * 1e-3,
        }
    });
    Some(rows.collect())
}

/// Median and 90th percentile of the relative error of what was measured.
fn errors<'a>(rows: impl Iterator<Item = &'a Measured>, fabric: &GroupFabric) -> (f64, f64) {
    let error =
        |row: &Measured| (collective_seconds(row.operation, fabric, row.ranks, row.bytes) / row.seconds - 1.0).abs();
    let mut errors: Vec<f64> = rows.map(error).collect();
    errors.sort_by(f64::total_cmp);
    assert!(errors.len() >= 10, "too few measurements: {}", errors.len());
    (errors[errors.len() / 2], errors[errors.len() * 9 / 10])
}

/// The sizes that were not fitted to: every other one of a series.
fn held_out(rows: &[Measured], is_of: impl Fn(&Measured) -> bool) -> Vec<&Measured> {
    let mut held = Vec::new();
    for ranks in [2, 4, 8] {
        let mut series: Vec<&Measured> = rows.iter().filter(|row| row.ranks == ranks && is_of(row)).collect();
        series.sort_by(|a, b| a.bytes.total_cmp(&b.bytes));
        held.extend(series.into_iter().skip(1).step_by(2));
    }
    held
}

/// The sizes that were fitted to: every other one of a series, from the smallest, and the largest.
fn fitted_to(series: &[&Measured]) -> Vec<MeasuredCollective> {
    let last = series.len() - 1;
    let is_fitted = |index: usize| index.is_multiple_of(2) || index == last;
    let points = series.iter().enumerate().filter(|(index, _)| is_fitted(*index));
    points.map(|(_, row)| MeasuredCollective { bytes: row.bytes, seconds: row.seconds }).collect()
}

#[test]
fn the_catalogs_figures_are_those_of_the_fit() {
    let Some(rows) = measured() else { return };
    for (gpu, gb_per_s, nccl, vllm) in
        [("a100_sxm", 300.0, "2.27.3", "0.14.0"), ("h100_sxm", 450.0, "2.29.2", "0.24.0")]
    {
        let fabric = group(LinkKind::Nvlink, gb_per_s).local;
        for (operation, implementation, version, table) in [
            (Operation::AllReduce, "vllm:vllm_graph", vllm, &fabric.custom_all_reduce),
            (Operation::AllReduce, "nccl", nccl, &fabric.all_reduce),
            (Operation::AllGather, "nccl", nccl, &fabric.all_gather),
            (Operation::ReduceScatter, "nccl", nccl, &fabric.reduce_scatter),
            (Operation::AllToAll, "nccl", nccl, &fabric.all_to_all),
        ] {
            for entry in table {
                let mut series: Vec<&Measured> = rows
                    .iter()
                    .filter(|row| {
                        (row.gpu.as_str(), row.operation, row.implementation.as_str(), row.version.as_str())
                            == (gpu, operation, implementation, version)
                            && row.ranks == entry.ranks
                            && row.bytes <= entry.up_to_bytes
                    })
                    .collect();
                series.sort_by(|a, b| a.bytes.total_cmp(&b.bytes));
                let fitted = fit_protocols(&fitted_to(&series));
                let seconds = |protocols: &[Protocol], bytes: f64| {
                    protocols.iter().map(|p| p.latency_s + p.s_per_byte * bytes).fold(f64::INFINITY, f64::min)
                };
                for row in series {
                    let ratio = seconds(&entry.protocols, row.bytes) / seconds(&fitted, row.bytes);
                    assert!(
                        (ratio - 1.0).abs() < 0.01,
                        "{gpu} {operation:?} {} {}: {fitted:?}",
                        entry.ranks,
                        row.bytes
                    );
                }
            }
        }
    }
}

#[test]
fn all_reduces_are_within_five_percent_of_those_that_were_not_fitted_to() {
    let Some(rows) = measured() else { return };
    // An H200 has an H100's links, and none of its figures were fitted to.
    let cases = [
        ("a100_sxm", 300.0, "vllm:vllm_graph", "0.14.0"),
        ("h100_sxm", 450.0, "vllm:vllm_graph", "0.24.0"),
        ("h200_sxm", 450.0, "vllm:vllm_graph", "0.24.0"),
        ("a100_sxm", 300.0, "nccl", "2.27.3"),
        ("h100_sxm", 450.0, "nccl", "2.29.2"),
        ("h200_sxm", 450.0, "nccl", "2.29.2"),
    ];
    for (gpu, gb_per_s, implementation, version) in cases {
        let fabric = GroupFabric { custom_all_reduce: implementation != "nccl", ..group(LinkKind::Nvlink, gb_per_s) };
        let held = held_out(&rows, |row| {
            row.operation == Operation::AllReduce
                && (row.gpu.as_str(), row.implementation.as_str(), row.version.as_str())
                    == (gpu, implementation, version)
        });
        let (median, p90) = errors(held.into_iter(), &fabric);
        println!("{gpu} {implementation}: median {:.1} %, p90 {:.1} %", 100.0 * median, 100.0 * p90);
        assert!(median <= 0.05 && p90 <= 0.15, "{gpu} {implementation}: {median} {p90}");
    }
}

#[test]
fn other_collectives_are_near_those_that_were_not_fitted_to() {
    let Some(rows) = measured() else { return };
    for (gpu, gb_per_s, version) in
        [("a100_sxm", 300.0, "2.27.3"), ("h100_sxm", 450.0, "2.29.2"), ("h200_sxm", 450.0, "2.29.2")]
    {
        for operation in [Operation::AllGather, Operation::ReduceScatter, Operation::AllToAll] {
            let held = held_out(&rows, |row| row.operation == operation && row.gpu == gpu && row.version == version);
            let (median, p90) = errors(held.into_iter(), &group(LinkKind::Nvlink, gb_per_s));
            println!("{gpu} {operation:?}: median {:.1} %, p90 {:.1} %", 100.0 * median, 100.0 * p90);
            assert!(median <= 0.10 && p90 <= 0.30, "{gpu} {operation:?}: {median} {p90}");
        }
    }
}

#[test]
fn nccl_over_pcie_is_near_what_was_measured() {
    let Some(folder) = shared() else {
        eprintln!("skipped: no shared data; set LLMPERFORACLE_SHARED");
        return;
    };
    let path = folder.join("kernels/nccl_rtxpro6000_2gpu_pcie5.csv");
    let text = fs::read_to_string(path).expect("the shared data has PCIe collectives");
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        // What gathers and scatters is listed by the bytes of one of the two ranks.
        let (operation, parts) = match cells[0] {
            "all_reduce" => (Operation::AllReduce, 1.0),
            "all_gather" => (Operation::AllGather, 2.0),
            _ => (Operation::ReduceScatter, 2.0),
        };
        let number = |cell: usize| cells[cell].parse::<f64>().expect("a number");
        (operation, parts * number(1), number(2) * 1e-6)
    });
    let fabric = GroupFabric { custom_all_reduce: false, ..group(LinkKind::Pcie, 64.0) };
    let error = |(operation, bytes, seconds): (Operation, f64, f64)| {
        (collective_seconds(operation, &fabric, 2, bytes) / seconds - 1.0).abs()
    };
    let mut errors: Vec<f64> = rows.map(error).collect();
    errors.sort_by(f64::total_cmp);
    assert!(errors[errors.len() / 2] <= 0.05 && errors[errors.len() * 9 / 10] <= 0.10, "{errors:?}");
}

/// GPUs that may not read each other's memory: 16 GB/s and 20 µs an all-reduce whatever the generation of the bus, and no
/// collective of the engine's own. Nothing was fitted to what NCCL takes among RTX PRO 6000 of a host that evidently is one.
#[test]
fn through_the_hosts_memory_it_is_about_16_gb_a_second_and_20_us() {
    let group = |gb_per_s: f64| {
        let local = Catalog::builtin().fabric(LinkKind::Pcie, gb_per_s * 1e9, false).expect("PCIe through the host");
        GroupFabric { local, custom_all_reduce: true, across: None }
    };
    let seconds = |group: &GroupFabric, bytes| collective_seconds(Operation::AllReduce, group, 2, bytes);
    for gb_per_s in [32.0, 64.0] {
        let by_host = group(gb_per_s);
        assert!((seconds(&by_host, 8192.0) / 20.5e-6 - 1.0).abs() < 0.01);
        assert!((seconds(&by_host, 16e6) / 1.02e-3 - 1.0).abs() < 0.01);
        assert!(seconds(&by_host, 8192.0) > 2.0 * seconds(&self::group(LinkKind::Pcie, gb_per_s), 8192.0));
    }
    // Links that do not lead through the host are as they were.
    let nvlink = |peer_to_peer| Catalog::builtin().fabric(LinkKind::Nvlink, 450e9, peer_to_peer).expect("NVLink");
    assert_eq!(nvlink(true), nvlink(false));
    let Some(measured) = measured_over_pcie() else { return };
    // Between two GPUs vLLM's own collective was measured.
    let is_nccls = |(ranks, bytes, _): &&(u32, f64, f64)| *ranks > 2 && (4096.0..=67_108_864.0).contains(bytes);
    let errors = sorted_errors(measured.iter().filter(is_nccls), &group(64.0));
    assert!(errors.len() == 30 && errors[15] < 0.3 && errors[29] < 0.6, "{errors:?}");
}

/// What GPUs that may read each other's memory can do is not slower than what those can that may not; and an all-reduce
/// is a reduce-scatter and an all-gather, so that neither takes much more than half as long.
#[test]
fn to_read_each_others_memory_is_never_a_loss() {
    let operations = [Operation::AllReduce, Operation::AllGather, Operation::ReduceScatter, Operation::AllToAll];
    for gb_per_s in [32.0, 64.0] {
        let group = |peer_to_peer| {
            let local = Catalog::builtin().fabric(LinkKind::Pcie, gb_per_s * 1e9, peer_to_peer).expect("PCIe");
            GroupFabric { local, custom_all_reduce: peer_to_peer, across: None }
        };
        let (peers, by_host) = (group(true), group(false));
        for (ranks, bytes) in [2, 3, 4, 6, 8, 16]
            .into_iter()
            .flat_map(|ranks| (8..30).map(move |power| (ranks, f64::from(1_u32 << power))))
        {
            let seconds = |fabric, operation| collective_seconds(operation, fabric, ranks, bytes);
            for operation in operations {
                let (with, without) = (seconds(&peers, operation), seconds(&by_host, operation));
                assert!(
                    with <= without,
                    "{operation:?} of {ranks} ranks, {bytes} bytes, {gb_per_s} GB/s: {with} {without}"
                );
            }
            if bytes > 8e6 {
                let parts = seconds(&peers, Operation::AllGather) + seconds(&peers, Operation::ReduceScatter);
                let whole = seconds(&GroupFabric { custom_all_reduce: false, ..peers.clone() }, Operation::AllReduce);
                assert!(
                    (0.75..1.35).contains(&(parts / whole)),
                    "{ranks} ranks, {bytes} bytes, {gb_per_s} GB/s: {}",
                    parts / whole
                );
            }
        }
    }
}

/// The latency of vLLM's own all-reduce between two GPUs over PCIe; its bandwidth is the host's.
#[test]
fn the_engines_all_reduce_over_pcie_has_the_latency_that_was_measured() {
    let Some(measured) = measured_over_pcie() else { return };
    let is_small = |(ranks, bytes, _): &&(u32, f64, f64)| *ranks == 2 && *bytes <= 16_384.0;
    let errors = sorted_errors(measured.iter().filter(is_small), &group(LinkKind::Pcie, 64.0));
    assert!(errors.len() == 8 && errors[4] < 0.1 && errors[7] < 0.15, "{errors:?}");
}

/// Ranks, bytes and seconds of the all-reduces of vLLM among RTX PRO 6000, replayed in a CUDA graph.
fn measured_over_pcie() -> Option<Vec<(u32, f64, f64)>> {
    let Some(folder) = shared() else {
        eprintln!("skipped: no shared data; set LLMPERFORACLE_SHARED");
        return None;
    };
    let path = folder.join("kernels/custom_allreduce_rtx_pro_6000_server_vllm024.csv");
    let text = fs::read_to_string(path).expect("the shared data has all-reduces over PCIe");
    let rows = text.lines().filter(|line| line.ends_with("vllm_graph")).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |cell: usize| cells[cell].parse::<f64>().expect("a number");
        (number(6) as u32, number(7), number(8) * 1e-3)
    });
    Some(rows.collect())
}

fn sorted_errors<'a>(rows: impl Iterator<Item = &'a (u32, f64, f64)>, fabric: &GroupFabric) -> Vec<f64> {
    let error = |&(ranks, bytes, seconds): &(u32, f64, f64)| {
        (collective_seconds(Operation::AllReduce, fabric, ranks, bytes) / seconds - 1.0).abs()
    };
    let mut errors: Vec<f64> = rows.map(error).collect();
    errors.sort_by(f64::total_cmp);
    errors
}

#[test]
fn more_bytes_never_take_less_and_none_are_faster_than_the_link() {
    let catalog = Catalog::builtin();
    let operations = [Operation::AllReduce, Operation::AllGather, Operation::ReduceScatter, Operation::AllToAll];
    for entry in catalog.fabrics() {
        for custom_all_reduce in [true, false] {
            let fabric = GroupFabric { local: entry.fabric.clone(), custom_all_reduce, across: None };
            for operation in operations {
                for ranks in 2..=72 {
                    let mut last = 0.0;
                    for step in 0..400 {
                        let bytes = 256.0 * (f64::from(step) * 0.06).exp();
                        let seconds = collective_seconds(operation, &fabric, ranks, bytes);
                        assert!(seconds >= last, "{} {operation:?} {ranks} {bytes}", entry.fabric.name);
                        // What a rank receives from the others, at the least.
                        let received = bytes * f64::from(ranks - 1) / f64::from(ranks);
                        let least = received / entry.bytes_per_s;
                        assert!(seconds >= least, "{} {operation:?} {ranks} {bytes}", entry.fabric.name);
                        last = seconds;
                    }
                }
            }
        }
    }
}

#[test]
fn another_bandwidth_changes_the_bytes_time_but_no_latency() {
    let (h100, nvl) = (group(LinkKind::Nvlink, 450.0), group(LinkKind::Nvlink, 600.0));
    let seconds = |fabric: &GroupFabric, bytes| collective_seconds(Operation::AllReduce, fabric, 8, bytes);
    assert!((seconds(&nvl, 256.0) / seconds(&h100, 256.0) - 1.0).abs() < 0.01);
    assert!((seconds(&nvl, 1e9) / seconds(&h100, 1e9) - 0.75).abs() < 0.05);
    assert_eq!(nvl.local.name, "nvlink-h100");
    assert_eq!(group(LinkKind::Nvlink, 900.0).local.name, "nvlink-b200");
    assert!(Catalog::builtin().fabric(LinkKind::Ici, 1e11, true).is_none());
}

/// vLLM 0.24's all-reduces of the RTX PRO 6000 are of another host than the catalog's two ranks over PCIe 5, whose bus gives
/// twice as much; four and eight ranks were measured there alone.
#[test]
fn all_reduces_under_vllm_are_within_five_percent_of_those_that_were_not_fitted_to() {
    let Some(folder) = shared() else {
        eprintln!("skipped: no shared data; set LLMPERFORACLE_SHARED");
        return;
    };
    for (gpu, kind, gb_per_s, ranks) in [
        ("b200_sxm", LinkKind::Nvlink, 900.0, &[2_u32, 4, 8][..]),
        ("h100_sxm", LinkKind::Nvlink, 450.0, &[2, 4, 8]),
        ("rtx_pro_6000_server", LinkKind::Pcie, 64.0, &[4, 8]),
    ] {
        let path = folder.join(format!("kernels/custom_allreduce_{gpu}_vllm024.csv"));
        let text = fs::read_to_string(path).expect("the shared data has all-reduces");
        let mut errors = Vec::new();
        for ranks in ranks {
            let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<&str>>());
            let of_graph = rows.filter(|cells| cells[9] == "vllm_graph" && cells[6] == ranks.to_string());
            // Sizes are numbers of bfloat16, times milliseconds.
            let number = |cell: &str| cell.parse::<f64>().expect("a number");
            let mut series: Vec<(f64, f64)> =
                of_graph.map(|cells| (2.0 * number(cells[7]), 1e-3 * number(cells[8]))).collect();
            series.sort_by(|a, b| a.0.total_cmp(&b.0));
            errors.extend(series.into_iter().skip(1).step_by(2).map(|(bytes, took_s)| {
                let fabric = group(kind, gb_per_s);
                (collective_seconds(Operation::AllReduce, &fabric, *ranks, bytes) / took_s - 1.0).abs()
            }));
        }
        errors.sort_by(f64::total_cmp);
        let (median, p90) = (errors[errors.len() / 2], errors[errors.len() * 9 / 10]);
        println!("{gpu}: median {:.1} %, p90 {:.1} %, {} sizes", 100.0 * median, 100.0 * p90, errors.len());
        assert!(median <= 0.05 && p90 <= 0.2, "{gpu}: {median} {p90}");
    }
}

#[test]
fn nodes_add_to_what_happens_within_them() {
    let alone = group(LinkKind::Nvlink, 450.0);
    let network = Catalog::builtin().fabric(LinkKind::Infiniband, 400e9, true).expect("the catalog has InfiniBand");
    let two = GroupFabric { across: Some((2, network.clone())), ..alone.clone() };
    let between = GroupFabric { local: network, custom_all_reduce: false, across: None };
    for bytes in [4096.0, 1e6, 1e8] {
        let nccl = GroupFabric { custom_all_reduce: false, ..alone.clone() };
        let parts = collective_seconds(Operation::AllReduce, &nccl, 8, bytes)
            + collective_seconds(Operation::AllReduce, &between, 2, bytes);
        let whole = collective_seconds(Operation::AllReduce, &two, 16, bytes);
        assert!((whole / parts - 1.0).abs() < 1e-12);
    }
}
