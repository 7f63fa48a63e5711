//! What processes share without a file: System V objects and keys.

use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs};
use crate::calls;
use crate::failure::{Doing, Done};

verbs! {
    /// What processes share without a file.
    Ipc {
        /// System V objects of the caller's IPC namespace with a key.
        "system-v" system_v: GetSystemV { key: i32 } -> SystemV;
        /// Makes them.
        "make-system-v" make_system_v: MakeSystemV { key: i32 } -> SystemV;
        /// Adds a key to a new session keyring of this thread; its number.
        "add-key" add_key: AddKey { name: String } -> i64;
    }
}

/// Which System V objects with a key are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemV {
    /// Shared memory.
    pub shm: bool,
    /// Semaphores.
    pub sem: bool,
    /// A message queue.
    pub msg: bool,
}

impl Act for GetSystemV {
    fn act(self) -> Done<SystemV> {
        let [shm, sem, msg] = calls::system_v(self.key, false).doing("opening System V objects")?;
        Ok(SystemV { shm, sem, msg })
    }
}

impl Act for MakeSystemV {
    fn act(self) -> Done<SystemV> {
        let [shm, sem, msg] = calls::system_v(self.key, true).doing("making System V objects")?;
        Ok(SystemV { shm, sem, msg })
    }
}

impl Act for AddKey {
    fn act(self) -> Done<i64> {
        calls::add_key(&self.name).doing("adding a key")
    }
}
