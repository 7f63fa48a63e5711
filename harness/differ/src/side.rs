//! Who plays a case.

use std::sync::Arc;

use record::SubjectInfo;
use runtime::oci::Spec;
use serde_json::Value;
use subject::Runtime;

/// A runtime, perhaps with a fault.
#[derive(Debug, Clone)]
pub struct Side {
    /// What a record says of it.
    pub info: SubjectInfo,
    /// How it is asked.
    pub runtime: Arc<dyn Runtime>,
    /// It gets another configuration than it is given.
    pub fault: Option<fn(&mut Spec)>,
}

impl Side {
    /// The configuration that it gets.
    pub(crate) fn told(&self, config: &Value) -> Value {
        match self.fault {
            Some(fault) => broken(config, fault).unwrap_or_else(|| config.clone()),
            None => config.clone(),
        }
    }
}

/// A configuration with a fault in it; nothing if the fault changes nothing, or cannot be there.
pub(crate) fn broken(config: &Value, fault: fn(&mut Spec)) -> Option<Value> {
    let before: Spec = serde_json::from_value(config.clone()).ok()?;
    let mut after = before.clone();
    fault(&mut after);
    let (before, after) = (serde_json::to_value(before).ok()?, serde_json::to_value(after).ok()?);
    (before != after).then_some(after)
}
