//! The program that runs inside containers. Each verb does or sees one thing and answers with one line of JSON.
//!
//! It is called as `/probe VERB [ARGUMENT...]`, or as `/probe serve` and then answers requests on its standard input
//! until that ends.

mod attempt;
pub mod bench;
mod calls;
mod cpu;
mod files;
mod look;
mod net;
mod shell;
mod state;
mod tasks;
mod tree;
mod work;

use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use serde_json::{Value, json};

/// Name under which this program is the one inside containers.
pub const NAME: &str = "probe";
/// Name under which it is the shell of containers.
pub const SHELL: &str = "sh";

/// What a verb returns.
type Answer = Result<Value, String>;

/// Runs the program with its own arguments.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if std::env::args().next().is_some_and(|name| name.ends_with("/sh") || name == "sh") {
        return shell::main(&words);
    }
    if words.first().is_some_and(|verb| verb == "serve") {
        if words.len() > 1 {
            // It was asked for a process with a fresh address space, and this is it.
            say(&Ok(Value::Null));
        }
        serve();
        return ExitCode::SUCCESS;
    }
    if let [word, status] = words.as_slice()
        && word == "exit"
    {
        return ExitCode::from(status.parse::<u8>().unwrap_or(255));
    }
    if words.first().is_some_and(|verb| verb == "sleep") {
        loop {
            nix::unistd::pause();
        }
    }
    if let [word, name, next] = words.as_slice()
        && word == "behind"
        && next == "serve"
    {
        return match calls::behind(name) {
            Ok(()) => {
                serve();
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("probe: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if let [word, point, log] = words.as_slice()
        && word == "hook"
    {
        return state::hook(point, log);
    }
    let answer = verb(&words);
    let status = if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    say(&answer);
    status
}

/// Answers requests until standard input ends.
pub fn serve() {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match serde_json::from_str::<Vec<String>>(&line) {
            Ok(words) if words == ["renew"] => renew(),
            Ok(words) => verb(&words),
            Err(error) => Err(format!("'{line}' is no request: {error}")),
        };
        say(&answer);
    }
}

/// Executes this program anew, with other addresses: what depends on them becomes noise instead of a bias. Returns only if
/// that fails.
fn renew() -> Answer {
    let error = std::process::Command::new("/proc/self/exe").arg0("probe").args(["serve", "renewed"]).exec();
    Err(format!("executing this program anew: {error}"))
}

/// Does what a verb says, in the calling process.
///
/// # Errors
/// As the verb says.
pub fn perform(words: &[String]) -> Result<Value, String> {
    verb(words)
}

fn say(answer: &Answer) {
    let line = match answer {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": error }),
    };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn verb(words: &[String]) -> Answer {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["true"] => Ok(Value::Null),
        ["identity"] => look::identity(),
        ["processes"] => look::processes(),
        ["namespaces"] => look::namespaces(),
        ["read", path] => look::read(path),
        ["hostname"] => look::hostname(),
        ["set-hostname", name] => look::set_hostname(name),
        ["interfaces"] => look::interfaces(),
        ["listen"] => look::listen(),
        ["add-address", address] => look::add_address(address),
        ["reach", marker] => look::reach(marker),
        ["write", path, text] => files::write(path, text),
        ["remove", path] => files::remove(path),
        ["mkdir", path] => files::mkdir(path),
        ["copy", from, to, mode] => files::copy(from, to, mode),
        ["bench", operation, times, scratch] => bench::bench(operation, times, scratch),
        ["echo"] => bench::echo(),
        ["round-trips", host, port, times] => bench::round_trips(host, port, times),
        ["stream", host, port, times] => bench::stream(host, port, times),
        ["work-items", millis, micros, threads] => work::items(millis, micros, threads),
        ["work-arrivals", millis, micros, threads, apart] => work::arrivals(millis, micros, threads, apart),
        ["unmount", path] => files::unmount(path),
        ["stack", lowers, upper, work, merged] => files::mount_stack(lowers, upper, work, merged),
        ["namespaces-made", kinds, times] => tasks::make_namespaces(kinds, times),
        ["pin", cpu] => cpu::pin(cpu),
        ["env", name] => Ok(std::env::var(name).map_or(Value::Null, Value::from)),
        ["arguments", words @ ..] => Ok(json!(words)),
        ["loopback-up"] => told("loopback", runtime::namespace::loopback_up()).map(|()| Value::Null),
        ["describe", path] => tree::describe(path),
        ["make-specimens", path] => tree::make_specimens(path),
        ["serve-http", port, text] => net::serve_http(port, text),
        ["get", address] => net::get(address),
        ["chatter", lines] => tasks::chatter(lines),
        ["rewrite", path, size] => files::rewrite(path, size),
        ["mount", path] => files::mount_tmpfs(path),
        ["bind", from, to] => files::bind(from, to),
        ["overlay", lower, upper, work, merged] => files::mount_overlay(lower, upper, work, merged),
        ["tick", path] => files::tick(path),
        ["spin", count] => cpu::spin(count),
        ["gaps", millis, shortest] => cpu::gaps(millis, shortest),
        ["spin-anywhere", count] => cpu::spin_anywhere(count),
        ["pulse", count, on, off] => cpu::pulse(count, on, off),
        ["burn", micros] => cpu::burn(micros),
        ["affinity"] => cpu::affinity(),
        ["sample-lateness"] => cpu::sample_lateness(),
        ["lateness"] => cpu::lateness(),
        ["rusage"] => state::rusage(),
        ["process", ..] => state::process(),
        ["descriptors"] => state::descriptors(),
        ["stat", path] => state::stat(path),
        ["list", path] => state::list(path),
        ["mount-options", path] => state::mount_options(path),
        ["clocks"] => state::clocks(),
        ["terminal"] => state::terminal(),
        ["count-stdin"] => state::count_stdin(),
        ["run", program, arguments @ ..] => state::run(program, arguments),
        ["try", words @ ..] => attempt::attempt(words),
        ["system-call", way, number, words @ ..] => calls::call(way, number, words),
        ["nested-proc", path, file] => calls::nested_proc(path, file),
        ["exists", path] => attempt::exists(path),
        ["add-key", name] => attempt::add_key(name),
        ["system-v", key] => attempt::system_v(key, false),
        ["make-system-v", key] => attempt::system_v(key, true),
        ["domainname"] => look::domainname(),
        ["set-domainname", name] => look::set_domainname(name),
        ["watch-executables", millis] => look::watch_executables(millis),
        ["make-pair", here, there, pid] => net::make_pair(here, there, pid),
        ["bring-up", link, address] => net::bring_up(link, address),
        ["limit-rate", link, rate, burst] => net::limit_rate(link, rate, burst),
        ["sink"] => net::sink(),
        ["sunk"] => net::sunk(),
        ["send", host, port, bytes] => net::send(host, port, bytes),
        ["kernel"] => look::kernel(),
        ["read-stream", path, bytes, how] => files::read_stream(path, bytes, how),
        ["write-stream", path, bytes, piece, how] => files::write_stream(path, bytes, piece, how),
        ["keep-open", path] => files::keep_open(path),
        ["append", path, text] => files::append(path, text),
        ["threads", most] => tasks::threads_until_refused(most),
        ["orphan"] => tasks::orphan(),
        ["signal-from-child", signal] => tasks::signal_from_child(signal),
        ["die", signal] => tasks::die(signal),
        ["leave-child"] => tasks::leave_child(),
        ["breed", count] => tasks::breed(count),
        ["touch-huge", pages, size] => tasks::touch_huge(pages, size),
        ["hold", bytes] => tasks::hold(bytes),
        ["touch", bytes] => tasks::touch(bytes),
        ["touch-in-child", bytes] => tasks::touch_in_child(bytes),
        ["fork", most] => tasks::fork_until_refused(most),
        ["spawn", count] => tasks::spawn(count),
        other => Err(format!("unknown verb '{}'", other.join(" "))),
    }
}

/// Turns any error into the text of an answer.
fn told<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}
