//! Names in the list of images.

use super::Reference;
use super::types::{Descriptor, Index, REF_NAME};

/// Gives a name to a manifest; its former bearer stays listed.
pub(super) fn set_name(index: &mut Index, manifest: &Descriptor, name: &Reference) {
    let text = Reference { digest: None, ..name.clone() }.to_string();
    drop_name(index, &text);
    // An entry without a name is only there to keep the image.
    index.manifests.retain(|entry| entry.digest != manifest.digest || entry.name().is_some());
    let mut entry = manifest.clone();
    entry.annotations.insert(REF_NAME.to_owned(), text);
    index.manifests.push(entry);
}

/// Takes a name away; says whether there was one.
pub(super) fn drop_name(index: &mut Index, text: &str) -> bool {
    let Some(position) = index.manifests.iter().position(|entry| entry.name() == Some(text)) else {
        return false;
    };
    let digest = index.manifests[position].digest.clone();
    if index.manifests.iter().filter(|entry| entry.digest == digest).count() > 1 {
        index.manifests.remove(position);
    } else {
        index.manifests[position].annotations.remove(REF_NAME);
    }
    true
}
