//! Changes of a container that is there: its limits and its restart policy. Source: Docker reference, docker container update.

use super::engine::{Engine, read_json};
use super::record::Record;
use super::restart::Restart;
use runtime::error::{Error, Result};
use runtime::oci::{BlockIo, Cpu, Memory, Resources};

impl Engine {
    /// Changes limits, of its groups too if it runs, and what happens when it has ended. What is absent stays.
    ///
    /// # Errors
    /// The kernel refuses a limit; then nothing is changed.
    pub fn update(&self, record: &Record, wanted: &Resources, restart: Option<Restart>) -> Result<()> {
        let _lock = self.lock()?;
        let mut changed: Record = read_json(&self.dir(&record.id).join("record.json"))?;
        if restart.is_some_and(|policy| policy != Restart::No) && changed.host.auto_remove {
            return Err(Error::new(format!("container '{}' is removed when it has ended", record.name))
                .remedy("a restart policy cannot be set for it"));
        }
        changed.host.resources = merged(&changed.host.resources, wanted);
        if let Some(policy) = restart {
            changed.host.restart = policy;
        }
        if *wanted != Resources::default()
            && let Ok(container) = self.running(record)
        {
            container.update(wanted)?;
        }
        let text = serde_json::to_vec(&changed).map_err(|error| Error::new(error.to_string()))?;
        self.store.replace(&self.dir(&record.id).join("record.json"), &text)?;
        self.tell(record, "update", &[]);
        Ok(())
    }
}

fn merged(old: &Resources, new: &Resources) -> Resources {
    let mut all = old.clone();
    if let Some(new) = &new.cpu {
        let old = old.cpu.clone().unwrap_or_default();
        all.cpu = Some(Cpu {
            shares: new.shares.or(old.shares),
            quota: new.quota.or(old.quota),
            period: new.period.or(old.period),
            realtime_runtime: new.realtime_runtime.or(old.realtime_runtime),
            realtime_period: new.realtime_period.or(old.realtime_period),
            cpus: new.cpus.clone().or(old.cpus.clone()),
            mems: new.mems.clone().or(old.mems.clone()),
            ..old
        });
    }
    if let Some(new) = &new.memory {
        let old = old.memory.clone().unwrap_or_default();
        all.memory = Some(Memory {
            limit: new.limit.or(old.limit),
            reservation: new.reservation.or(old.reservation),
            swap: new.swap.or(old.swap),
            ..old
        });
    }
    if let Some(new) = &new.block_io {
        let old = old.block_io.clone().unwrap_or_default();
        all.block_io = Some(BlockIo { weight: new.weight.or(old.weight), ..old });
    }
    all.pids = new.pids.or(old.pids);
    all
}
