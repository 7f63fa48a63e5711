//! An image of more layers than the options of mount(2) can name.

mod common;

use common::Shop;

#[test]
fn an_image_of_many_layers_runs_and_grows() {
    let Some(shop) = Shop::open("many layers") else { return };
    if !takes_layers_one_by_one() {
        println!("skipped: many layers: this kernel's overlay has no lowerdir+ (Linux 6.8)");
        return;
    }
    let context = shop.path("context");
    std::fs::create_dir_all(&context).unwrap();
    let steps: String = (0..140).map(|n| format!("COPY <<E /layers/{n}\n{n}\nE\n")).collect();
    std::fs::write(context.join("Dockerfile"), format!("FROM box\n{steps}RUN rm /layers/0\n")).unwrap();
    shop.plim(&["build", "--network", "none", "-q", "-t", "deep", context.to_str().unwrap()]);
    assert_eq!(shop.alone(&["deep", "sh", "-c", "ls /layers | busybox wc -l; cat /layers/139"]), "139\n139");
}

fn takes_layers_one_by_one() -> bool {
    use rustix::mount::{FsOpenFlags, fsconfig_set_string, fsopen};
    fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .is_ok_and(|context| fsconfig_set_string(&context, "lowerdir+", "/").is_ok())
}
