//! What a distribution says of its kernels.

use matrix::list::List;
use matrix::packages::Index;

pub(super) fn index(data: &[u8]) {
    let index = Index::parse(&String::from_utf8_lossy(data));
    let rows = List::read(None)
        .and_then(|list| list.select(&[], true))
        .expect("the list of this program can be read");
    for row in &rows {
        if let Ok(found) = index.resolve(row) {
            assert!(found.packages.iter().all(|package| package.name.contains(&found.version)), "{found:?}");
        }
    }
}
