//! Any request: read from words, and done.

use crate::ask::Written;
use crate::failure::{Done, Failure};
use crate::verbs::attempt::Attempt;
use crate::verbs::bare::Bare;
use crate::verbs::cpu::Cpu;
use crate::verbs::files::Files;
use crate::verbs::ipc::Ipc;
use crate::verbs::look::Look;
use crate::verbs::measure::Measure;
use crate::verbs::net::Net;
use crate::verbs::program::Program;
use crate::verbs::snapshot::Snapshots;
use crate::verbs::state::State;
use crate::verbs::tasks::Tasks;
use crate::verbs::terms::Terms;
use crate::verbs::tree::Trees;

/// A group for each kind of request.
macro_rules! groups {
    ($($group:ident),+ $(,)?) => {
        /// A request of any group.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Request {
            $($group($group),)+
        }

        impl Request {
            /// Reads a request from its words.
            ///
            /// # Errors
            /// There is no such verb, or it does not take such arguments.
            pub(crate) fn read(words: &[String]) -> Done<Self> {
                $(
                    if let Some(read) = $group::read(words) {
                        return read.map(Self::$group);
                    }
                )+
                Err(Failure::new(format!("unknown verb '{}'", words.join(" "))))
            }

            /// Does it, in the calling process; the answer as it goes over the channel.
            ///
            /// # Errors
            /// As the verb says.
            pub(crate) fn act(self) -> Done<Written> {
                match self {
                    $(Self::$group(request) => request.act(),)+
                }
            }
        }
    };
}

groups!(Look, Files, State, Attempt, Bare, Tasks, Terms, Cpu, Net, Ipc, Trees, Measure, Program, Snapshots);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Ask;
    use crate::verbs::{attempt, cpu, files, state, tasks};

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_asked_is_what_is_read() {
        let requests = [
            (files::write("/a b", "").words(), Request::Files(Files::Write(files::write("/a b", "")))),
            (cpu::pulse(8, 250, 9750).words(), Request::Cpu(Cpu::Pulse(cpu::pulse(8, 250, 9750)))),
            (
                files::write_stream("/f", 9, 3, files::How::Behind).words(),
                Request::Files(Files::WriteStream(files::write_stream("/f", 9, 3, files::How::Behind))),
            ),
            (
                state::run("/p", &["a", "b"]).words(),
                Request::State(State::Run(state::run("/p", &["a", "b"]))),
            ),
            (
                attempt::chmod("/f", attempt::Octal(0o4710)).words(),
                Request::Attempt(attempt::chmod("/f", attempt::Octal(0o4710))),
            ),
        ];
        for (words, request) in requests {
            assert_eq!(Request::read(&words), Ok(request), "{words:?}");
        }
    }

    #[test]
    fn words_stay_as_they_were() {
        assert_eq!(attempt::chmod("/f", attempt::Octal(0o4710)).words(), words("try chmod /f 4710"));
        assert_eq!(attempt::mknod("/d", attempt::Device::Block, 7, 0).words(), words("try mknod /d b 7 0"));
        assert_eq!(tasks::fork_until_refused(64).words(), words("fork 64"));
        assert_eq!(files::read_stream("/f", 9, files::How::Direct).words(), words("read-stream /f 9 direct"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in ["", "tea", "fork", "fork x", "fork 1 2", "try", "try tea", "try chmod /f 9"] {
            assert!(Request::read(&words(text)).is_err(), "{text}");
        }
    }
}
