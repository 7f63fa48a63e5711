//! Parts of the runtime core that every container or commit goes through.

use std::hint::black_box;

use benches::fill_upper;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use runtime::cgroup::Layout;
use runtime::oci::{Seccomp, SeccompRule, example};

/// Reading the mount table and finding each controller's hierarchy: part of every start.
fn detect(c: &mut Criterion) {
    c.bench_function("cgroup layout of this host", |b| b.iter(|| black_box(Layout::detect().unwrap())));
}

/// Reading and writing a configuration: part of every command.
fn configuration(c: &mut Criterion) {
    let text = serde_json_text();
    c.bench_function("config.json read", |b| {
        b.iter(|| black_box(serde_json::from_str::<runtime::oci::Spec>(&text).unwrap()));
    });
}

fn serde_json_text() -> String {
    serde_json::to_string(&example()).unwrap()
}

/// A filter with as many names as engines' default profiles have.
fn seccomp(c: &mut Criterion) {
    let names = syscalls::Sysno::iter().take(350).map(|call| call.name().to_owned()).collect();
    let rule = SeccompRule { names, action: "SCMP_ACT_ALLOW".into(), ..SeccompRule::default() };
    let profile =
        Seccomp { default_action: "SCMP_ACT_ERRNO".into(), syscalls: vec![rule], ..Seccomp::default() };
    c.bench_function("seccomp profile of 350 names compiled", |b| {
        b.iter(|| black_box(runtime::process::seccomp::Filter::compile(&profile).unwrap()));
    });
}

/// The cost of a commit must grow with the change alone.
fn layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("layer of an upper directory");
    for files in [10, 1_000] {
        let upper = tempfile::tempdir().unwrap();
        fill_upper(upper.path(), files).unwrap();
        group.throughput(Throughput::Elements(files as u64));
        group.bench_with_input(BenchmarkId::new("diff", files), &upper, |b, upper| {
            b.iter(|| black_box(engine::layer::diff(upper.path()).unwrap()));
        });
        group.bench_with_input(BenchmarkId::new("archive", files), &upper, |b, upper| {
            b.iter(|| engine::layer::write(upper.path(), std::io::sink()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(parts, detect, configuration, seccomp, layers);
criterion_main!(parts);
