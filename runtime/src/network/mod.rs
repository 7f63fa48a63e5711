//! Network devices, by netlink: made, addressed, limited, found and removed.

pub mod link;
pub mod moved;
pub mod netlink;
