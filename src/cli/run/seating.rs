//! Where it runs: flags and machine file -> placement -> seats and session options.

use std::path::Path;
use std::sync::Arc;

use super::args::{OnOff, PinArg, RunArgs};
use super::subject::Subject;
use crate::cli::failure::{Blame, Failure};
use crate::placement::plan::{plan, CoresPerInstance, Layout, Pin, Placement, PlacementRequest};
use crate::placement::{Allowance, Host, MachinePreset, Topology};
use crate::runtime::{Model, OnnxModel, Runtime, RuntimeOption, SessionOptions};
use crate::scenario::Scenario;
use crate::sut::pool::{ModelFactory, Seat};

/// The machine as this process may use it, and what the flags ask of it.
pub struct Seating {
    /// CPUs, cores, sockets.
    pub topology: Topology,
    /// What this process may use.
    pub allowance: Allowance,
    request: PlacementRequest,
    options: Vec<RuntimeOption>,
}

impl Seating {
    /// Reads the machine and the flags.
    pub fn read(args: &RunArgs) -> Result<Self, Failure> {
        let allowance = Allowance::of_this_process().or_environment()?;
        let topology = Topology::read(Path::new("/sys"), &allowance.cpus);
        let preset = match &args.machine {
            None => PlacementRequest::default(),
            Some(name) => MachinePreset::find(name).or_usage()?.placement,
        };
        let parse = |pair: &String| RuntimeOption::parse(pair).or_usage();
        Ok(Self {
            topology,
            allowance,
            request: preset.overlaid_by(request(args)?),
            options: args.ort.iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// The machine, and what another verb's flags ask of it.
    pub fn of(request: PlacementRequest, options: Vec<RuntimeOption>) -> Result<Self, Failure> {
        let allowance = Allowance::of_this_process().or_environment()?;
        Ok(Self {
            topology: Topology::read(Path::new("/sys"), &allowance.cpus),
            allowance,
            request,
            options,
        })
    }

    /// The machine, as a report describes it.
    pub fn host(&self) -> Host {
        Host::of_this_machine(&self.topology, &self.allowance)
    }

    /// Where the instances of a scenario run.
    pub fn place(&self, scenario: Scenario) -> Result<Placement, Failure> {
        let mut request = self.request.clone();
        request.layout = request.layout.or(Some(Layout::for_scenario(scenario)));
        plan(&request, &self.topology, &self.allowance).or_usage()
    }

    /// Makes the sessions of a placement.
    pub fn factory(
        &self,
        placement: &Placement,
        batch_size: usize,
        subject: &Subject,
        runtime: &Runtime,
    ) -> ModelFactory {
        self.factory_for(&subject.onnx, placement, batch_size, subject, runtime)
    }

    /// The same for a file that takes and gives what `subject` does.
    pub fn factory_for(
        &self,
        onnx: &Path,
        placement: &Placement,
        batch_size: usize,
        subject: &Subject,
        runtime: &Runtime,
    ) -> ModelFactory {
        let options: Vec<SessionOptions> = placement
            .instances
            .iter()
            .map(|instance| SessionOptions {
                intra_threads: instance.intra_threads,
                inter_threads: instance.inter_threads,
                intra_affinity: (placement.pin == Pin::Core && instance.intra_threads > 1)
                    .then(|| instance.cpus.clone()),
                entries: self.options.clone(),
                outputs: subject.outputs(),
                batch_size,
                has_batch_axis: subject.has_batch_axis(),
                ..SessionOptions::default()
            })
            .collect();
        let (runtime, onnx) = (runtime.clone(), onnx.to_owned());
        Arc::new(move |instance| {
            OnnxModel::open(&runtime, &onnx, &options[instance])
                .map(|model| -> Box<dyn Model> { Box::new(model) })
                .map_err(|error| error.to_string())
        })
    }
}

/// How many instances of so many cores, or a `socket`, this machine holds; `None` when it holds none.
pub fn instances_that_fit(cores_per_instance: &str) -> Option<usize> {
    let allowance = Allowance::of_this_process().ok()?;
    let topology = Topology::read(Path::new("/sys"), &allowance.cpus);
    let request = PlacementRequest {
        cores_per_instance: Some(cores_per_instance.parse().ok()?),
        layout: Some(Layout::ManyNarrow),
        ..PlacementRequest::default()
    };
    let placement = plan(&request, &topology, &allowance).ok()?;
    Some(placement.instances.len())
}

/// A seat for each instance's worker thread.
pub fn seats(placement: &Placement) -> Vec<Seat> {
    let seat = |instance: &crate::placement::plan::InstancePlacement| {
        let worker_cpus = match (placement.pin, instance.inter_threads) {
            (Pin::None, _) => None,
            (Pin::Core, 1) => Some(instance.cpus[..1].to_vec()),
            // Inter-op threads inherit the worker's mask: it must hold all of the instance's CPUs.
            (Pin::Core, _) => Some(instance.cpus.clone()),
        };
        Seat { worker_cpus }
    };
    placement.instances.iter().map(seat).collect()
}

fn request(args: &RunArgs) -> Result<PlacementRequest, Failure> {
    let cores_per_instance = match args.cores_per_instance.as_deref() {
        None => None,
        Some(text) => Some(text.parse::<CoresPerInstance>().or_usage()?),
    };
    let cpus = match args.cpus.as_deref() {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error| Failure::usage(format!("--cpus {text}: {error}")))?,
        ),
    };
    Ok(PlacementRequest {
        instances: args.instances,
        cores_per_instance,
        intra_threads: args.intra_threads,
        inter_threads: args.inter_threads,
        cpus,
        pin: args.pin.map(|pin| match pin {
            PinArg::None => Pin::None,
            PinArg::Core => Pin::Core,
        }),
        smt: args.smt.map(|smt| smt == OnOff::On),
        socket: args.socket_id,
        numa_node: args.numa_node,
        // Other programs' commands mean one instance that has all cores, whatever the scenario.
        layout: args
            .told
            .as_ref()
            .map(|_| Layout::for_scenario(Scenario::SingleStream)),
    })
}
