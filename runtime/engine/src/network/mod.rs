//! Network devices of a container, the bridges between them, and ports published on the host. Source: netdevice(7).

mod bridge;
mod link;
mod netlink;
mod networks;
pub mod publish;
mod way_out;

pub use bridge::Attached;
pub use link::{bring_up, class_id_of_listener, limit_rate, make_pair, remove as remove_device};
pub use networks::{Network, Networks, RANGE};
