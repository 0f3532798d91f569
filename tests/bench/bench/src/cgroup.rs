//! Part of a core for a process, as Lambda gives it by memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::http::Error;
use crate::prices::Assumptions;

/// Where version 1 keeps the controller of processors, and where version 2 keeps all.
const FIRST: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"];
const SECOND: &str = "/sys/fs/cgroup";

/// A control group, for as long as this lives.
pub(crate) struct Group(PathBuf);

impl Group {
    /// A group that has as much of a core as Lambda gives with this much memory.
    pub(crate) fn new(memory: u32, assumptions: &Assumptions) -> Result<Self, Error> {
        let name = format!("flow-bench-{}-{memory}", std::process::id());
        let period = assumptions.cfs_period_us;
        let share = (f64::from(memory) / assumptions.lambda_mb_of_a_core).min(1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the period")]
        let quota = (f64::from(period) * share) as u32;
        if let Some(root) =
            FIRST.map(Path::new).into_iter().find(|root| root.join("cpu.cfs_quota_us").is_file())
        {
            let group = Self::make(root.join(name))?;
            fs::write(group.0.join("cpu.cfs_period_us"), period.to_string())?;
            fs::write(group.0.join("cpu.cfs_quota_us"), quota.to_string())?;
            return Ok(group);
        }
        let root = Path::new(SECOND);
        // Groups have the controller only when their parent passes it on.
        fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
        let group = Self::make(root.join(name))?;
        fs::write(group.0.join("cpu.max"), format!("{quota} {period}"))?;
        Ok(group)
    }

    fn make(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    /// The file that takes the ids of processes.
    pub(crate) fn members(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty by now, or left behind without harm.
        let _ = fs::remove_dir(&self.0);
    }
}
