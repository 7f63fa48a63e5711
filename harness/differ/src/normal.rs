//! A snapshot without what differs from one container to the next.

use std::collections::BTreeMap;

use probe::verbs::snapshot::Snapshot;
use serde_json::{Map, Value};

/// A snapshot as JSON: namespaces are `own` or `host`, and mounts are named by their mount points.
///
/// What a masked path is covered with is the runtime's own affair: that nothing can be read there is seen by trying.
pub(crate) fn normal(snapshot: &Snapshot, host: &BTreeMap<String, u64>, config: &Value) -> Value {
    let masked: Vec<&str> =
        config["linux"]["maskedPaths"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut value = serde_json::to_value(snapshot).unwrap_or_default();
    if let Some(Value::Object(namespaces)) = value.pointer_mut("/namespaces/ok") {
        for (kind, id) in namespaces {
            let is_hosts = host.get(kind).is_some_and(|of_host| Some(*of_host) == id.as_u64());
            *id = if is_hosts { "host" } else { "own" }.into();
        }
    }
    if let Some(mounts) = value.pointer_mut("/mounts/ok") {
        *mounts = by_point(mounts.take());
        if let Some(mounts) = mounts.as_object_mut() {
            mounts.retain(|point, _| !masked.contains(&point.split('#').next().unwrap_or(point)));
        }
    }
    if let Some(Value::String(keyring)) = value.pointer_mut("/keyring/ok") {
        // The name is the runtime's own.
        *keyring = keyring.split(';').take(4).collect::<Vec<_>>().join(";");
    }
    for path in masked {
        if let Some(Value::Object(sight)) = value.pointer_mut("/paths").and_then(|paths| paths.get_mut(path))
        {
            sight.shift_remove("node");
            sight.shift_remove("write");
        }
    }
    if let Some(Value::Object(status)) = value.pointer_mut("/status/ok") {
        // Into how many filters a runtime splits a profile is its own affair.
        status.remove("Seccomp_filters");
    }
    value
}

fn by_point(mounts: Value) -> Value {
    let mut named = Map::new();
    for mut mount in mounts.as_array().cloned().unwrap_or_default() {
        let point = mount["point"].as_str().unwrap_or_default().to_owned();
        if let Some(fields) = mount.as_object_mut() {
            fields.shift_remove("point");
        }
        let mut name = point.clone();
        let mut number = 2;
        while named.contains_key(&name) {
            name = format!("{point}#{number}");
            number += 1;
        }
        named.insert(name, mount);
    }
    Value::Object(named)
}
