use tempfile::TempDir;

use super::super::topology::fixtures::{cascade_lake, neighbour_siblings, two_core_vm};
use super::*;

fn machine(root: &TempDir, allowed: &str) -> (Topology, Allowance) {
    let cpus: CpuList = allowed.parse().unwrap();
    let topology = Topology::read(root.path(), &cpus);
    let quota = CpuQuota::Unlimited;
    (topology, Allowance { cpus, quota })
}

fn many() -> PlacementRequest {
    PlacementRequest {
        layout: Some(Layout::ManyNarrow),
        ..PlacementRequest::default()
    }
}

fn wide() -> PlacementRequest {
    PlacementRequest::default()
}

fn cores(count: usize) -> CoresPerInstance {
    CoresPerInstance::Count(count)
}

fn list(text: &str) -> CpuList {
    text.parse().unwrap()
}

/// One line: each instance's CPUs (in order when not ascending), threads where they differ, issuer.
fn line(placement: &Placement) -> String {
    let instances: Vec<String> = placement
        .instances
        .iter()
        .map(|instance| {
            let compact: CpuList = instance.cpus.iter().copied().collect();
            let node = instance
                .node
                .map_or("?".to_owned(), |node| node.to_string());
            format!("{compact}/{}@{node}", instance.intra_threads)
        })
        .collect();
    let issuer = placement
        .issuer_cpu
        .map_or("-".to_owned(), |cpu| cpu.to_string());
    format!("{} issuer {issuer}", instances.join(" "))
}

/// A request as a machine file says it, with semicolons for line ends.
fn request(keys: &str) -> PlacementRequest {
    toml::from_str(&keys.replace(';', "\n")).unwrap()
}

#[test]
fn plans_for_two_sockets_of_28_cores() {
    let root = cascade_lake();
    let (topology, allowance) = machine(&root, "0-111");
    let narrow = |each: usize| -> String {
        let instance = |index: usize| {
            let cpus: CpuList = (index * each..(index + 1) * each).collect();
            format!("{cpus}/{each}@{} ", index * each / 28)
        };
        (0..56 / each).map(instance).collect::<String>() + "issuer -"
    };
    let (ones, fours) = (narrow(1), narrow(4));
    let sockets = "0-27/28@0 28-55/28@1 issuer -";
    for (keys, expected) in [
        ("", "0-27/28@0 issuer 55"),
        ("instances = 2", sockets),
        (
            "instances = 4",
            "0-13/14@0 14-27/14@0 28-41/14@1 42-55/14@1 issuer -",
        ),
        ("intra_threads = 8", "0-7/8@0 issuer 27"),
        ("cores_per_instance = 56", "0-55/56@? issuer -"),
        ("cores_per_instance = 'socket'", "0-27/28@0 issuer 55"),
        (
            "cores_per_instance = 8; intra_threads = 6",
            "0-5/6@0 issuer 27",
        ),
        ("socket = 1", "28-55/28@1 issuer 27"),
        (
            "cpus = '20-35'; instances = 2",
            "20-27/8@0 28-35/8@1 issuer -",
        ),
        ("smt = true", "0-27,56-83/56@0 issuer 55"),
        (
            "smt = true; cores_per_instance = 28; intra_threads = 28",
            "0-27/28@0 issuer 55",
        ),
        ("layout = 'many-narrow'", &ones),
        (
            "layout = 'many-narrow'; instances = 2",
            "0/1@0 1/1@0 issuer 27",
        ),
        ("layout = 'many-narrow'; cores_per_instance = 4", &fours),
        ("layout = 'many-narrow'; intra_threads = 4", &fours),
        (
            "layout = 'many-narrow'; cores_per_instance = 'socket'",
            sockets,
        ),
        (
            "layout = 'many-narrow'; cores_per_instance = 20",
            "0-19/20@0 28-47/20@1 issuer 27",
        ),
        (
            "layout = 'many-narrow'; numa_node = 1; intra_threads = 14",
            "28-41/14@1 42-55/14@1 issuer 27",
        ),
        (
            "layout = 'many-narrow'; smt = true; cpus = '0-1,56-57'",
            "0/1@0 1/1@0 56/1@0 57/1@0 issuer -",
        ),
    ] {
        let placement = plan(&request(keys), &topology, &allowance).unwrap();
        assert_eq!(line(&placement), expected, "{keys}");
    }
}

#[test]
fn threads_take_all_first_siblings_before_any_second_one() {
    let root = neighbour_siblings();
    let (topology, allowance) = machine(&root, "0-7");
    let cpus = |request: PlacementRequest| {
        plan(&request, &topology, &allowance).unwrap().instances[0]
            .cpus
            .clone()
    };
    assert_eq!(cpus(wide()), [0, 2, 4, 6]);
    let both = PlacementRequest {
        smt: Some(true),
        ..wide()
    };
    assert_eq!(cpus(both.clone()), [0, 2, 4, 6, 1, 3, 5, 7]);
    assert_eq!(
        cpus(PlacementRequest {
            intra_threads: Some(3),
            ..both
        }),
        [0, 2, 1]
    );
}

#[test]
fn plans_for_small_and_holey_machines() {
    let vm = two_core_vm();
    let (topology, allowance) = machine(&vm, "0-1");
    let line_of = |request| line(&plan(&request, &topology, &allowance).unwrap());
    assert_eq!(line_of(wide()), "0-1/2@0 issuer -");
    assert_eq!(line_of(many()), "0/1@0 1/1@0 issuer -");
    assert_eq!(
        line_of(PlacementRequest {
            instances: Some(1),
            ..many()
        }),
        "0/1@0 issuer 1"
    );

    // A container that may use a hole-ridden part of a large machine.
    let big = cascade_lake();
    let (topology, allowance) = machine(&big, "3,5,26-29,60,82");
    let line_of = |request| line(&plan(&request, &topology, &allowance).unwrap());
    // CPU 60 is the sibling of 4, which is not allowed, and so a core of its own; 82 is 26's.
    assert_eq!(
        line_of(many()),
        "3/1@0 60/1@0 5/1@0 26/1@0 27/1@0 28/1@1 29/1@1 issuer -"
    );
    assert_eq!(line_of(wide()), "3,5,26-27,60/5@0 issuer 29");

    // No sysfs at all.
    let empty = tempfile::tempdir().unwrap();
    let (topology, allowance) = machine(&empty, "2-3,9");
    let placement = plan(&many(), &topology, &allowance).unwrap();
    assert_eq!(line(&placement), "2/1@? 3/1@? 9/1@? issuer -");
    assert_eq!(
        placement.warnings,
        [PlacementWarning::TopologyGuessed {
            cpus: list("2-3,9")
        }]
    );
}

#[test]
fn remainder_cores_are_skipped_with_a_note() {
    let root = cascade_lake();
    let (topology, allowance) = machine(&root, "0-111");
    let request = PlacementRequest {
        cores_per_instance: Some(cores(5)),
        socket: Some(0),
        ..many()
    };
    let placement = plan(&request, &topology, &allowance).unwrap();
    assert_eq!(placement.instances.len(), 5);
    let note = PlacementWarning::CoresSkipped {
        cores: list("25-27"),
        cores_per_instance: 5,
    };
    assert_eq!(placement.warnings, [note]);
    assert_eq!(placement.idle, list("25-27"));
    assert_eq!(placement.issuer_cpu, Some(27));
}

#[test]
fn one_instance_on_one_socket_says_that_the_other_is_idle() {
    let root = cascade_lake();
    let (topology, allowance) = machine(&root, "0-111");
    let placement = plan(&wide(), &topology, &allowance).unwrap();
    let note = PlacementWarning::OneSocketOfSeveral {
        used: 28,
        usable: 56,
    };
    assert_eq!(placement.warnings, [note]);
    let chosen = PlacementRequest {
        intra_threads: Some(4),
        ..wide()
    };
    assert!(plan(&chosen, &topology, &allowance)
        .unwrap()
        .warnings
        .is_empty());
}

#[test]
fn an_instance_crosses_sockets_only_when_it_must_and_says_so() {
    let root = cascade_lake();
    let (topology, allowance) = machine(&root, "0-111");
    let request = PlacementRequest {
        instances: Some(3),
        cores_per_instance: Some(cores(18)),
        ..many()
    };
    let placement = plan(&request, &topology, &allowance).unwrap();
    assert_eq!(
        line(&placement),
        "0-17/18@0 28-45/18@1 18-27,46-53/18@? issuer 55"
    );
    let note = PlacementWarning::Straddles {
        instance: 2,
        boundary: "sockets",
    };
    assert_eq!(placement.warnings, [note]);
}

#[test]
fn siblings_named_without_smt_are_left_out_with_a_note() {
    let root = cascade_lake();
    let (topology, allowance) = machine(&root, "0-111");
    let request = PlacementRequest {
        cpus: Some(list("0-1,56-57")),
        ..wide()
    };
    let placement = plan(&request, &topology, &allowance).unwrap();
    assert_eq!(placement.instances[0].cpus, [0, 1]);
    let note = PlacementWarning::SiblingsLeftOut {
        cpus: list("56-57"),
    };
    assert_eq!(placement.warnings, [note]);
}

#[test]
fn too_many_threads_are_an_error_that_gives_the_numbers() {
    let root = two_core_vm();
    let (topology, allowance) = machine(&root, "0-1");
    let error = |request| plan(&request, &topology, &allowance).unwrap_err();
    let request = PlacementRequest {
        instances: Some(2),
        intra_threads: Some(2),
        ..many()
    };
    assert_eq!(
        error(request).to_string(),
        "4 cores are needed (2 x 2 for the instances), but 2 are usable (CPUs 0-1); lower instances, \
         cores_per_instance or intra_threads, turn smt on, or set pin to none to share cores"
    );
    let request = PlacementRequest {
        cores_per_instance: Some(cores(1)),
        intra_threads: Some(2),
        ..wide()
    };
    assert!(matches!(
        error(request),
        PlacementError::ThreadsBeyondCores { cores: 1, .. }
    ));
    let socket = Some(CoresPerInstance::Socket);
    let request = PlacementRequest {
        cores_per_instance: socket,
        instances: Some(2),
        ..many()
    };
    assert!(matches!(
        error(request),
        PlacementError::NotEnoughSockets { sockets: 1, .. }
    ));
}

#[test]
fn unpinned_threads_may_share_cores_with_a_warning() {
    let root = two_core_vm();
    let (topology, allowance) = machine(&root, "0-1");
    let request = PlacementRequest {
        instances: Some(3),
        intra_threads: Some(2),
        pin: Some(Pin::None),
        ..many()
    };
    let placement = plan(&request, &topology, &allowance).unwrap();
    assert_eq!(line(&placement), "0-1/2@0 0-1/2@0 0-1/2@0 issuer -");
    let note = PlacementWarning::Oversubscribed {
        threads: 6,
        cpus: 2,
    };
    assert_eq!(placement.warnings, [note]);
    let request = PlacementRequest {
        pin: Some(Pin::None),
        ..many()
    };
    let placement = plan(&request, &topology, &allowance).unwrap();
    assert_eq!(
        (placement.instances.len(), placement.warnings.len()),
        (2, 0)
    );
    let wider = PlacementRequest {
        pin: Some(Pin::None),
        cores_per_instance: Some(cores(5)),
        ..many()
    };
    assert_eq!(
        line(&plan(&wider, &topology, &allowance).unwrap()),
        "0-1/5@0 issuer -"
    );
    let request = PlacementRequest {
        pin: Some(Pin::None),
        ..wide()
    };
    assert_eq!(
        plan(&request, &topology, &allowance).unwrap().instances[0].intra_threads,
        2
    );
}

#[test]
fn a_quota_below_the_threads_is_a_warning() {
    let root = two_core_vm();
    let (topology, mut allowance) = machine(&root, "0-1");
    allowance.quota = CpuQuota::Limited(1.5);
    let placement = plan(&wide(), &topology, &allowance).unwrap();
    let note = PlacementWarning::QuotaTooSmall {
        threads: 2,
        quota_cpus: 1.5,
    };
    assert_eq!(placement.warnings, [note]);
}

#[test]
fn side_by_side_operators_count_as_threads() {
    let root = two_core_vm();
    let (topology, allowance) = machine(&root, "0-1");
    let request = PlacementRequest {
        inter_threads: Some(2),
        ..wide()
    };
    let placement = plan(&request, &topology, &allowance).unwrap();
    let note = PlacementWarning::Oversubscribed {
        threads: 3,
        cpus: 2,
    };
    assert_eq!(placement.warnings, [note]);
}

#[test]
fn impossible_wishes_are_named() {
    let root = cascade_lake();
    let (topology, allowance) = machine(&root, "0-27");
    let error = |request| plan(&request, &topology, &allowance).unwrap_err();
    let keys = [
        "instances",
        "intra_threads",
        "inter_threads",
        "cores_per_instance",
    ];
    for (index, key) in keys.into_iter().enumerate() {
        let with = |value| {
            let at = |position| (index == position).then_some(value);
            PlacementRequest {
                instances: at(0),
                intra_threads: at(1),
                inter_threads: at(2),
                cores_per_instance: at(3).map(CoresPerInstance::Count),
                ..wide()
            }
        };
        assert_eq!(error(with(0)), PlacementError::Zero { key });
        let value = usize::MAX;
        assert_eq!(error(with(value)), PlacementError::TooLarge { key, value });
    }
    let outside = error(PlacementRequest {
        cpus: Some(list("20-30")),
        ..wide()
    });
    assert_eq!(
        outside,
        PlacementError::CpuNotAllowed {
            cpu: 28,
            allowed: list("0-27")
        }
    );
    let elsewhere = error(PlacementRequest {
        socket: Some(1),
        ..wide()
    });
    assert!(
        elsewhere.to_string().contains("socket 1; choose among 0"),
        "{elsewhere}"
    );
    let nowhere = error(PlacementRequest {
        numa_node: Some(7),
        ..wide()
    });
    assert!(matches!(
        nowhere,
        PlacementError::NoCpuOn {
            key: "numa_node",
            value: 7,
            ..
        }
    ));
    let none = Allowance {
        cpus: CpuList::default(),
        quota: CpuQuota::Unknown,
    };
    assert_eq!(
        plan(&wide(), &topology, &none),
        Err(PlacementError::NothingAllowed)
    );
}

#[test]
fn flags_win_over_a_preset_key_by_key() {
    let preset = PlacementRequest {
        instances: Some(7),
        cores_per_instance: Some(cores(4)),
        ..many()
    };
    let flags = PlacementRequest {
        instances: Some(2),
        ..wide()
    };
    let both = preset.overlaid_by(flags);
    assert_eq!(
        (both.instances, both.cores_per_instance),
        (Some(2), Some(cores(4)))
    );
    assert_eq!(both.layout, Some(Layout::ManyNarrow));
}

mod properties {
    use super::*;
    use proptest::option::of;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    /// Read once: a fixture is hundreds of files.
    fn the_machine() -> &'static Topology {
        static MACHINE: OnceLock<Topology> = OnceLock::new();
        MACHINE.get_or_init(|| Topology::read(cascade_lake().path(), &CpuList::default()))
    }

    proptest! {
        /// Whatever is asked: a plan uses usable CPUs only, each at most once, one per thread.
        #[test]
        fn a_pinned_plan_gives_every_thread_a_cpu_of_its_own(
            allowed in prop::collection::btree_set(0usize..112, 1..112),
            instances in of(1usize..70), each in of(1usize..70), intra in of(1usize..70),
            smt: bool, socket in of(0usize..2), narrow: bool,
        ) {
            let topology = the_machine();
            let cpus: CpuList = allowed.into_iter().collect();
            let allowance = Allowance { cpus, quota: CpuQuota::Unknown };
            let layout = if narrow { Layout::ManyNarrow } else { Layout::OneWide };
            let request = PlacementRequest {
                instances, intra_threads: intra, socket, smt: Some(smt), layout: Some(layout),
                cores_per_instance: each.map(CoresPerInstance::Count), ..wide()
            };
            if let Ok(placement) = plan(&request, topology, &allowance) {
                let mut taken: Vec<usize> = Vec::new();
                for instance in &placement.instances {
                    prop_assert_eq!(instance.cpus.len(), instance.intra_threads);
                    taken.extend(&instance.cpus);
                }
                let distinct: CpuList = taken.iter().copied().collect();
                prop_assert_eq!(distinct.len(), taken.len());
                prop_assert!(distinct.is_subset(&placement.usable));
                prop_assert!(placement.usable.is_subset(&allowance.cpus));
                prop_assert!(!placement.instances.is_empty());
                if let Some(instances) = instances {
                    prop_assert_eq!(placement.instances.len(), instances);
                }
                let core_of = |cpu: usize| topology.cpu(cpu).unwrap().core;
                if !smt {
                    let cores: CpuList = taken.iter().map(|&cpu| core_of(cpu)).collect();
                    prop_assert_eq!(cores.len(), taken.len(), "one thread per core");
                }
                if let Some(cpu) = placement.issuer_cpu {
                    prop_assert!(taken.iter().all(|&other| core_of(other) != core_of(cpu)));
                }
            }
        }
    }
}
