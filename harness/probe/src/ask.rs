//! What a request is: its words, its arguments, and the type of its answer.
//!
//! A request goes over the channel as a list of words, which is also how a shell or a configuration gives it:
//! `/probe write /etc/file text`. An answer comes back as one line of JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::{Done, Failure};

/// A request to a probe.
pub trait Ask {
    /// What it answers.
    type Answer: DeserializeOwned;

    /// The words of it.
    fn words(&self) -> Vec<String>;
}

impl<A: Ask + ?Sized> Ask for &A {
    type Answer = A::Answer;

    fn words(&self) -> Vec<String> {
        (**self).words()
    }
}

/// A request that the probe knows how to do.
pub trait Act: Ask {
    /// Does it, in the calling process.
    ///
    /// # Errors
    /// As the verb says.
    fn act(self) -> Done<Self::Answer>;
}

/// An answer as it goes over the channel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// It was done.
    Ok(T),
    /// It was not.
    Error(Failure),
}

/// An argument of a request.
pub trait Argument: Sized {
    /// How a caller gives it.
    type Given<'a>;

    /// What a caller gave.
    fn given(given: Self::Given<'_>) -> Self;

    /// Adds it to the words of a request.
    fn write(&self, words: &mut Vec<String>);

    /// Takes it from the words of a request; `None` if it is missing or no such thing.
    fn read(words: &mut std::slice::Iter<'_, String>) -> Option<Self>;
}

impl Argument for String {
    type Given<'a> = &'a str;

    fn given(given: &str) -> Self {
        given.to_owned()
    }

    fn write(&self, words: &mut Vec<String>) {
        words.push(self.clone());
    }

    fn read(words: &mut std::slice::Iter<'_, String>) -> Option<Self> {
        words.next().cloned()
    }
}

/// All that is left.
impl Argument for Vec<String> {
    type Given<'a> = &'a [&'a str];

    fn given(given: &[&str]) -> Self {
        given.iter().map(|word| (*word).to_owned()).collect()
    }

    fn write(&self, words: &mut Vec<String>) {
        words.extend(self.iter().cloned());
    }

    fn read(words: &mut std::slice::Iter<'_, String>) -> Option<Self> {
        Some(words.by_ref().cloned().collect())
    }
}

/// Types whose values are words and are given as they are.
macro_rules! word_arguments {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::ask::Argument for $type {
            type Given<'a> = $type;

            fn given(given: $type) -> Self {
                given
            }

            fn write(&self, words: &mut Vec<String>) {
                words.push(self.to_string());
            }

            fn read(words: &mut std::slice::Iter<'_, String>) -> Option<Self> {
                words.next()?.parse().ok()
            }
        }
    )+};
}
pub(crate) use word_arguments;

word_arguments!(i32, i64, u8, u16, u32, u64, usize, std::net::Ipv4Addr, std::net::SocketAddr);

/// Whether a request begins with the words of a verb; what is left are its arguments.
pub(crate) fn arguments<'a>(verb: &str, words: &'a [String]) -> Option<&'a [String]> {
    let mut rest = words;
    for word in verb.split(' ') {
        rest = rest.strip_prefix(&[word.to_owned()])?;
    }
    Some(rest)
}

/// The refusal of arguments that a verb does not take.
pub(crate) fn misused(verb: &str, arguments: &[String]) -> Failure {
    Failure::new(format!("the verb '{verb}' does not take the arguments {arguments:?}"))
}

/// Defines the verbs of a group: for each a type with its arguments, a function that makes one, and the type of its answer;
/// and for all an enumeration, which a probe reads from words and does.
///
/// ```text
/// verbs! {
///     /// What the group is about.
///     Files {
///         /// Writes a text to a file.
///         "write" write: Write { path: String, text: String } -> ();
///     }
/// }
/// ```
macro_rules! verbs {
    (
        $(#[$about:meta])* $group:ident {
            $($(#[$doc:meta])* $words:literal $function:ident: $name:ident { $($field:ident: $type:ty),* $(,)? } -> $answer:ty;)+
        }
    ) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $name {
                $(#[allow(missing_docs, reason = "the verb's own words say it")] pub $field: $type,)*
            }

            $(#[$doc])*
            #[must_use]
            pub fn $function($($field: <$type as $crate::ask::Argument>::Given<'_>),*) -> $name {
                $name { $($field: $crate::ask::Argument::given($field)),* }
            }

            impl $crate::ask::Ask for $name {
                type Answer = $answer;

                fn words(&self) -> Vec<String> {
                    #[allow(unused_mut, reason = "a verb may have no arguments")]
                    let mut words: Vec<String> = $words.split(' ').map(str::to_owned).collect();
                    $($crate::ask::Argument::write(&self.$field, &mut words);)*
                    words
                }
            }

            impl $name {
                fn of_words(words: &[String]) -> Option<Self> {
                    #[allow(unused_mut, reason = "a verb may have no arguments")]
                    let mut rest = words.iter();
                    let read = Self { $($field: $crate::ask::Argument::read(&mut rest)?),* };
                    rest.as_slice().is_empty().then_some(read)
                }
            }
        )+

        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $group {
            $($(#[$doc])* $name($name),)+
        }

        impl $group {
            /// Reads a request of this group from its words; `None` if it is of another group.
            pub(crate) fn read(words: &[String]) -> Option<$crate::failure::Done<Self>> {
                $(
                    if let Some(rest) = $crate::ask::arguments($words, words) {
                        let read = $name::of_words(rest).map(Self::$name);
                        return Some(read.ok_or_else(|| $crate::ask::misused($words, rest)));
                    }
                )+
                None
            }

            /// Does it; the answer as JSON.
            pub(crate) fn act(self) -> $crate::failure::Done<$crate::ask::Written> {
                match self {
                    $(Self::$name(request) => $crate::ask::written(&$crate::ask::Act::act(request)?),)+
                }
            }
        }
    };
}
pub(crate) use verbs;

/// An answer of any verb, as it is written: its type is known where the verb is defined, and again to whoever asked.
pub(crate) type Written = Box<RawValue>;

/// Writes an answer.
pub(crate) fn written(answer: &impl Serialize) -> Done<Written> {
    to_raw_value(answer)
        .map_err(|error| Failure::new(format!("the answer cannot be written as JSON: {error}")))
}
