//! What generating a plan costs: budget 0.1 us a Server query, 5 ns an Offline sample.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use detbench::plan::Plan;
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;

const COUNT: u64 = 1_000_000;

/// A performance run of `COUNT` queries, or of one query with `COUNT` samples.
fn plan(scenario: Scenario, pairs: &[(&str, &str)]) -> Plan {
    let mut settings = TestSettings {
        min_duration_ms: 0,
        ..TestSettings::default()
    };
    settings.min_query_count = COUNT;
    for (key, value) in pairs {
        settings.set(key, value).expect("settings of the bench");
    }
    let mode = TestMode::PerformanceOnly;
    Plan::new(&settings, scenario, mode, 5000, 1024, CompatProfile::V6).expect("a plan")
}

/// Reads every sample in pieces, as a run does.
fn exhaust(plan: &Plan) -> u64 {
    let mut samples = Vec::with_capacity(4096);
    let mut sum = 0;
    let mut queries = plan.queries(&plan.sets()[0]);
    while let Some(scheduled) = queries.begin_query() {
        sum += scheduled.as_nanos();
        loop {
            samples.clear();
            if queries.read_samples(4096, &mut samples) == 0 {
                break;
            }
            sum += u64::from(samples[0].0);
        }
    }
    sum
}

fn generation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("generate");
    group
        .throughput(Throughput::Elements(COUNT))
        .sample_size(10);
    let permutations = &[("sample_concatenate_permutation", "true")];
    for (name, scenario, pairs) in [
        ("SingleStream", Scenario::SingleStream, &[][..]),
        ("MultiStream of 8", Scenario::MultiStream, &[]),
        ("Server", Scenario::Server, &[]),
        ("Server in permutations", Scenario::Server, permutations),
        ("Offline", Scenario::Offline, &[]),
        ("Offline permuted", Scenario::Offline, permutations),
    ] {
        let plan = plan(scenario, pairs);
        group.bench_function(name, |bencher| bencher.iter(|| exhaust(&plan)));
    }
    let server = plan(Scenario::Server, &[]);
    group.bench_function("Server, times only", |bencher| {
        bencher.iter(|| server.generated(&server.sets()[0]).duration);
    });
    group.finish();
}

criterion_group!(benches, generation);
criterion_main!(benches);
