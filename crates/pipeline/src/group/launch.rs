//! Which process of how many this one is, as the launchers that people use tell it: `torchrun` and what writes the same variables
//! (Kubernetes' PyTorchJob, most schedulers), Slurm's `srun`, Open MPI's `mpirun`, indexed Kubernetes jobs.

use yolo11_tracking::Environment;

use crate::Error;

/// Where the processes meet if nobody says: the port that `torchrun` takes.
const DEFAULT_PORT: u16 = 29500;
/// Slurm jobs on one machine meet at ports of their own from here on.
const FIRST_SLURM_PORT: u64 = 20_000;
/// How many such ports there are.
const SLURM_PORTS: u64 = 9_000;

/// This process among those that train together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number, from 0; 0 leads: it reads, measures, saves and tells.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Where number 0 listens: a host's name or address.
    pub host: String,
    /// And its port.
    pub port: u16,
    /// How many of them share this process's cores, as far as the launcher tells: those on this machine, or 1 where it gave each its own.
    pub on_machine: usize,
    /// What the processes of one job have in common and others have not.
    pub job: String,
}

/// This process's place; `None` where it trains alone.
///
/// # Errors
/// The variables contradict each other, or do not say where the processes meet.
pub fn place(environment: &Environment) -> Result<Option<Place>, Error> {
    let Some(launcher) = LAUNCHERS
        .iter()
        .find(|launcher| environment.get(launcher.rank).is_some() && environment.get(launcher.size).is_some())
    else {
        return Ok(None);
    };
    let rank = number(environment, launcher.rank)?;
    let size = number(environment, launcher.size)?;
    if size <= 1 {
        return Ok(None);
    }
    if rank >= size {
        return Err(fault(
            format!("{}={rank}: with {}={size} the last process has number {}", launcher.rank, launcher.size, size - 1),
            "start every process with a number of its own, from 0",
        ));
    }
    let job = environment.get(launcher.job).unwrap_or_default().to_owned();
    let host = match environment.get("MASTER_ADDR") {
        Some(host) => host.to_owned(),
        None => environment.get("SLURM_STEP_NODELIST").and_then(first_host).ok_or_else(|| {
            fault(
                format!("{}={size} asks for {size} processes, and nothing says where they meet", launcher.size),
                "set MASTER_ADDR to the host of process 0 and MASTER_PORT to a free port of it, or unset the variable to train alone",
            )
        })?,
    };
    let on_machine = if has_own_cores(environment) { 1 } else { sharing(environment).unwrap_or(1).clamp(1, size) };
    Ok(Some(Place { rank, size, on_machine, host, port: port(environment)?, job }))
}

/// Whether Slurm or Open MPI has bound this process to cores of its own.
fn has_own_cores(environment: &Environment) -> bool {
    let slurm = environment.get("SLURM_CPU_BIND_TYPE").is_some_and(|kind| !["", "none"].contains(&kind.trim()));
    slurm || environment.get("OMPI_MCA_orte_bound_at_launch").is_some_and(|bound| bound.trim() == "1")
}

/// How many of the processes run on this machine.
fn sharing(environment: &Environment) -> Option<usize> {
    match environment.first(&["LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"]) {
        Some(count) => count.trim().parse().ok(),
        None => {
            let node = environment.get("SLURM_NODEID")?.trim().parse().ok()?;
            tasks_of(environment.get("SLURM_STEP_TASKS_PER_NODE")?, node)
        }
    }
}

/// The count of a node in Slurm's short form, such as `2(x3),1`: two on each of the first three, one on the fourth.
fn tasks_of(list: &str, node: usize) -> Option<usize> {
    let mut first = 0;
    for part in list.split(',') {
        let (count, times) = match part.trim().split_once("(x") {
            Some((count, times)) => (count, times.strip_suffix(')')?.parse().ok()?),
            None => (part.trim(), 1),
        };
        first += times;
        if node < first {
            return count.parse().ok();
        }
    }
    None
}

/// The variables of a launcher.
struct Launcher {
    rank: &'static str,
    size: &'static str,
    job: &'static str,
}

/// Those that are asked first come first. Slurm's are those of a step: a batch script outside `srun` has no step, and is one process.
const LAUNCHERS: [Launcher; 4] = [
    Launcher { rank: "RANK", size: "WORLD_SIZE", job: "TORCHELASTIC_RUN_ID" },
    Launcher { rank: "SLURM_PROCID", size: "SLURM_STEP_NUM_TASKS", job: "SLURM_JOB_ID" },
    Launcher { rank: "OMPI_COMM_WORLD_RANK", size: "OMPI_COMM_WORLD_SIZE", job: "PMIX_NAMESPACE" },
    Launcher { rank: "JOB_COMPLETION_INDEX", size: "WORLD_SIZE", job: "JOB_NAME" },
];

fn number(environment: &Environment, name: &str) -> Result<usize, Error> {
    let value = environment.get(name).unwrap_or_default();
    value.trim().parse().map_err(|_| fault(format!("{name}={value}: not a number"), "set it to a number, or unset it"))
}

fn port(environment: &Environment) -> Result<u16, Error> {
    let out_of_range = |name: &str, value: &str| {
        fault(format!("{name}={value}: not a port"), "choose a free port between 1024 and 65535")
    };
    if let Some(value) = environment.get("MASTER_PORT") {
        let port: u16 = value.trim().parse().map_err(|_| out_of_range("MASTER_PORT", value))?;
        // torchrun listens there itself.
        let is_taken = environment.is_on("TORCHELASTIC_USE_AGENT_STORE");
        return if is_taken { port.checked_add(1).ok_or_else(|| out_of_range("MASTER_PORT", value)) } else { Ok(port) };
    }
    let job = environment.get("SLURM_JOB_ID").and_then(|job| job.parse::<u64>().ok());
    Ok(job.map_or(DEFAULT_PORT, |job| (FIRST_SLURM_PORT + job % SLURM_PORTS) as u16))
}

/// The first host of Slurm's short form, such as `node[03-17,21],login` → `node03`.
fn first_host(list: &str) -> Option<String> {
    let end = list.find([',', '[']).unwrap_or(list.len());
    let (name, rest) = list.split_at(end);
    let Some(inside) = rest.strip_prefix('[') else {
        return Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    };
    let close = inside.find(']')?;
    let number = inside[..close].split([',', '-']).next()?;
    let tail = inside[close + 1..].split(',').next().unwrap_or_default();
    Some(format!("{name}{number}{tail}"))
}

fn fault(message: String, hint: &str) -> Error {
    Error::Setup { message, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Option<Place>, Error> {
        place(&Environment::from_pairs(pairs.iter().copied()))
    }

    fn wanted(rank: usize, size: usize, host: &str, port: u16, job: &str) -> Option<Place> {
        Some(Place { rank, size, on_machine: 1, host: host.into(), port, job: job.into() })
    }

    #[test]
    fn every_launcher_s_variables_give_the_place() {
        let plain =
            [("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "head"), ("MASTER_PORT", "1234")];
        assert_eq!(of(&plain).unwrap(), wanted(1, 4, "head", 1234, ""));
        // torchrun keeps MASTER_PORT for itself.
        let torchrun =
            [&plain[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RUN_ID", "r7")]].concat();
        assert_eq!(of(&torchrun).unwrap(), wanted(1, 4, "head", 1235, "r7"));
        let shared = [&plain[..], &[("LOCAL_WORLD_SIZE", "2")]].concat();
        assert_eq!(of(&shared).unwrap().unwrap().on_machine, 2);
        let slurm = [
            ("SLURM_PROCID", "2"),
            ("SLURM_STEP_NUM_TASKS", "3"),
            ("SLURM_STEP_NODELIST", "gpu[07-09]"),
            ("SLURM_JOB_ID", "18003"),
        ];
        assert_eq!(of(&slurm).unwrap(), wanted(2, 3, "gpu07", 20003, "18003"));
        // Two tasks of three on this machine: they share its cores unless Slurm has given each its own.
        let shared = [&slurm[..], &[("SLURM_STEP_TASKS_PER_NODE", "1,2"), ("SLURM_NODEID", "1")]].concat();
        assert_eq!(of(&shared).unwrap().unwrap().on_machine, 2);
        for (kind, on_machine) in [("mask_cpu:", 1), ("none", 2)] {
            let bound = [&shared[..], &[("SLURM_CPU_BIND_TYPE", kind)]].concat();
            assert_eq!(of(&bound).unwrap().unwrap().on_machine, on_machine, "{kind}");
        }
        let mpi = [("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "2"), ("MASTER_ADDR", "::1")];
        assert_eq!(of(&mpi).unwrap(), wanted(0, 2, "::1", 29500, ""));
        let shared = [&mpi[..], &[("OMPI_COMM_WORLD_LOCAL_SIZE", "2")]].concat();
        assert_eq!(of(&shared).unwrap().unwrap().on_machine, 2);
        let bound = [&shared[..], &[("OMPI_MCA_orte_bound_at_launch", "1")]].concat();
        assert_eq!(of(&bound).unwrap().unwrap().on_machine, 1);
        let indexed = [("JOB_COMPLETION_INDEX", "5"), ("WORLD_SIZE", "8"), ("MASTER_ADDR", "train-0.train")];
        assert_eq!(of(&indexed).unwrap(), wanted(5, 8, "train-0.train", 29500, ""));
    }

    #[test]
    fn one_process_alone_needs_nothing() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        // A batch script before its `srun`, and a variable that something else has set.
        assert_eq!(of(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]).unwrap(), None);
        assert_eq!(of(&[("RANK", "3")]).unwrap(), None);
        assert_eq!(of(&[("RANK", ""), ("WORLD_SIZE", "")]).unwrap(), None);
    }

    #[test]
    fn contradictions_name_the_variable() {
        for (pairs, message) in [
            (
                vec![("RANK", "4"), ("WORLD_SIZE", "4")],
                "RANK=4: with WORLD_SIZE=4 the last process has number 3\nhint: ",
            ),
            (vec![("RANK", "x"), ("WORLD_SIZE", "4")], "RANK=x: not a number\nhint: "),
            (
                vec![("RANK", "0"), ("WORLD_SIZE", "4")],
                "WORLD_SIZE=4 asks for 4 processes, and nothing says where they meet\nhint: set MASTER_ADDR",
            ),
            (
                vec![("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "70000")],
                "MASTER_PORT=70000: not a port\nhint: ",
            ),
        ] {
            let error = of(&pairs).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
            assert_eq!(error.exit_code(), 3);
        }
    }

    #[test]
    fn slurm_s_short_counts_give_that_of_a_node() {
        for (list, node, count) in [("2", 0, 2), ("2(x3),1", 2, 2), ("2(x3),1", 3, 1), ("1,4(x2)", 1, 4)] {
            assert_eq!(tasks_of(list, node), Some(count), "{list}");
        }
        for (list, node) in [("2", 1), ("", 0), ("2(x", 0), ("x", 0)] {
            assert_eq!(tasks_of(list, node), None, "{list}");
        }
    }

    #[test]
    fn slurm_s_short_lists_give_their_first_host() {
        for (list, host) in [
            ("node1", "node1"),
            ("node1,node2", "node1"),
            ("node[1-4]", "node1"),
            ("rack2-node[003,007-009],login", "rack2-node003"),
            ("a[01-02]-ib,b", "a01-ib"),
        ] {
            assert_eq!(first_host(list).as_deref(), Some(host));
        }
        assert_eq!(first_host(""), None);
        assert_eq!(first_host("node[1"), None);
    }
}
