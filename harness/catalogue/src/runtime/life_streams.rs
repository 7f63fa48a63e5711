//! What connects an application with its caller: a terminal, or standard input.

use std::io::Write;
use std::process::Stdio;

use kit::channel;
use kit::check::{Check, Checked};
use kit::fault::in_fixture;
use kit::runtime::RuntimeFixture;
use kit::verbs::{program, state};

const SOURCE: &str = "OCI runtime-spec, runtime.md, Lifecycle and Operations";
const PIPE: &str = "pipe";
const NO_SIGNALS: &str = "the terminal's signals switched off";
const CLOSED: &str = "closed";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.tty",
        "a terminal of its own: right size, controlling, and Ctrl-C reaches the application",
        "OCI config.md, Process, terminal; pty(7)",
        terminal,
    )
    .faults(&[in_fixture(PIPE), in_fixture(NO_SIGNALS)]),
    Check::of_runtime("life.stdin", "stdin reaches the application, and its end ends it", SOURCE, stdin)
        .faults(&[in_fixture(CLOSED)]),
];

fn terminal(runtime: &mut RuntimeFixture) -> Checked {
    use kit::terminal::Console;
    let pipe = runtime.has(PIPE);
    let (id, bundle) = runtime
        .container()
        .with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.terminal = !pipe;
                process.console_size = (!pipe).then_some(runtime::oci::ConsoleSize { height: 33, width: 77 });
                process.args = vec!["/probe".into(), "terminal".into()];
            }
        })
        .bundle()?;
    let driver = runtime.driver().clone();
    let said = if pipe {
        driver.output(&["run", "--bundle", &bundle.display().to_string(), &id], Stdio::null())?.1
    } else {
        let console = Console::listen(&bundle)?;
        let socket = console.path.display().to_string();
        driver.create_on(&bundle, &id, &socket)?;
        let master = console.accept()?;
        driver.call(&["start", &id])?;
        let said = kit::terminal::read_line(&master)?;
        driver.wait_stopped(&id)?;
        driver.delete(&id)?;
        said
    };
    let seen = channel::printed(state::terminal(), said.trim())?;
    runtime.seen.expect_eq("terminal", &seen.terminal, &true);
    runtime.seen.expect_eq("rows and columns", &(seen.rows, seen.columns), &(Some(33), Some(77)));
    runtime.seen.expect_eq("controls", &seen.controls, &true);
    runtime.seen.expect_eq("session", &seen.session, &true);
    if pipe { Ok(()) } else { control_c(runtime) }
}

/// What an application on a terminal says after Ctrl-C. Source: termios(3), VINTR and ISIG.
fn control_c(runtime: &mut RuntimeFixture) -> Checked {
    let (id, bundle) = runtime.container().probe(program::await_signal()).terminal().bundle()?;
    let driver = runtime.driver().clone();
    let console = kit::terminal::Console::listen(&bundle)?;
    driver.create_on(&bundle, &id, &console.path.display().to_string())?;
    let master = console.accept()?;
    driver.call(&["start", &id])?;
    let waits = kit::terminal::read_line(&master)?;
    runtime.seen.expect_text("what an application says that waits for a signal", waits.trim(), "waiting");
    if runtime.has(NO_SIGNALS) {
        kit::terminal::without_signals(&master)?;
    }
    (&master).write_all(&[0x03])?;
    // The terminal echoes it as ^C where its signals are on.
    let said = kit::terminal::read_line_within(&master, std::time::Duration::from_secs(2))?;
    let said = said.trim().trim_start_matches("^C");
    runtime.seen.expect_text("what it says after Ctrl-C", said, &format!("signal {}", libc::SIGINT));
    driver.call(&["delete", "--force", &id])
}

fn stdin(runtime: &mut RuntimeFixture) -> Checked {
    let (id, bundle) = runtime.container().probe(state::count_stdin()).bundle()?;
    let driver = runtime.driver().clone();
    let (reader, mut writer) = std::io::pipe()?;
    let closed = runtime.has(CLOSED);
    let feeder = std::thread::spawn(move || {
        if !closed {
            let _ = writer.write_all(&[1; 100_000]);
        }
    });
    let (status, said, complaint) =
        driver.output(&["run", "--bundle", &bundle.display().to_string(), &id], Stdio::from(reader))?;
    let _ = feeder.join();
    let seen = channel::printed(state::count_stdin(), said.trim())?;
    runtime.seen.expect_eq("bytes that arrived before the end", &seen.bytes, &100_000);
    runtime.seen.expect_eq("their sum", &seen.sum, &100_000);
    runtime.seen.expect("exit status", status, format!("0 ({})", complaint.trim()), status == 0);
    Ok(())
}
