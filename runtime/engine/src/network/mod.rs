//! Network devices of a container, the bridges between them, and ports published on the host. Source: netdevice(7).

mod bridge;
mod link;
mod netlink;
pub mod publish;

pub use bridge::{Attached, Network, Networks, RANGE};
pub use link::{bring_up, class_id_of_listener, limit_rate, make_pair, remove as remove_device};
