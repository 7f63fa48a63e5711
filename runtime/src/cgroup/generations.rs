//! Which code is for which generation of the interface.

use super::interface::Interface;
use super::{Version, v1, v2};

impl Version {
    pub(super) fn interface(self) -> &'static dyn Interface {
        match self {
            Version::V1 => &v1::V1,
            Version::V2 => &v2::V2,
        }
    }
}
