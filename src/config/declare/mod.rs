//! How keys are declared, and the one way to read them.
//!
//! [`section!`] declares a mapping: each field is a key with its doc, type, default, unit and bounds. From that one
//! declaration come the struct that the rest of the program reads, the decoding with its diagnostics, the JSON Schema,
//! the annotated example and the reference. A key that is not declared has no field, so it cannot be read; a key of a
//! file that has no declaration is an error.
//!
//! `key` holds the declarations themselves, `field` the types that fields have, `reader` a mapping that is being read,
//! `value` the decoding of single values.

mod field;
mod key;
mod reader;
mod value;

pub(crate) use field::{Decode, Field, Ignored, ReadKey, Set};
pub(crate) use key::{Key, Literal, Need, Section, Shape, Variants, default, ignored, optional, required};
pub(crate) use reader::{Reader, path_of};
pub(crate) use value::{Meant, Named, Placed, decode_name, name_of};

/// Declares a section: see the module's documentation.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $section:ident {
            $( $(#[doc = $key_doc:literal])+ $name:ident : $field:ty = $key:expr; )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(crate) struct $section {
            /// Where the section stands.
            #[allow(dead_code, reason = "not every section is the subject of a message")]
            pub(crate) at: $crate::config::diagnostic::At,
            $( $(#[doc = $key_doc])+ pub(crate) $name: $field, )+
        }

        impl $section {
            /// The declaration.
            pub(crate) const DECLARATION: &'static $crate::config::declare::Section = {
                static SECTION: $crate::config::declare::Section = $crate::config::declare::Section {
                    name: stringify!($section),
                    doc: concat!($($doc),+),
                    keys: &[ $( $key.declared(
                        stringify!($name),
                        concat!($($key_doc),+),
                        <$field as $crate::config::declare::ReadKey>::SHAPE,
                        <$field as $crate::config::declare::ReadKey>::HAS_DEFAULT,
                    ) ),+ ],
                };
                &SECTION
            };
        }

        impl $crate::config::declare::Decode for $section {
            const SHAPE: &'static $crate::config::declare::Shape =
                &$crate::config::declare::Shape::Section(Self::DECLARATION);

            fn decode(
                node: &$crate::config::tree::Node,
                _key: &'static $crate::config::declare::Key,
                at: &$crate::config::diagnostic::At,
                diagnostics: &mut $crate::config::diagnostic::Diagnostics,
            ) -> Option<Self> {
                let section = Self::DECLARATION;
                let mut reader = $crate::config::declare::Reader::open(node, section, at, diagnostics)?;
                let mut keys = section.keys.iter();
                let mut next = || keys.next().expect("as many keys as fields");
                Some(Self {
                    at: at.clone(),
                    $( $name: $crate::config::declare::ReadKey::read(&mut reader, next()), )+
                })
            }

            fn json(&self) -> serde_json::Value {
                let mut map = serde_json::Map::new();
                let mut keys = Self::DECLARATION.keys.iter();
                $(
                    let key = keys.next().expect("as many keys as fields");
                    if let Some(value) = $crate::config::declare::ReadKey::json(&self.$name) {
                        map.insert(key.name.to_owned(), value);
                    }
                )+
                serde_json::Value::Object(map)
            }
        }
    };
}
pub(crate) use section;

/// Gives the values of a type their names.
macro_rules! names {
    ($type:ty { $( $name:literal => $value:expr ),+ $(,)? } $(also $words:expr)?) => {
        impl $crate::config::declare::Named for $type {
            const NAMES: &'static [&'static str] = &[ $($name),+ ];
            const VALUES: &'static [Self] = &[ $($value),+ ];
            $(const OTHER_WORDS: &'static [(&'static str, $crate::config::declare::Meant)] = $words;)?
        }

        $crate::config::declare::names!(@decode $type);
    };
    // Names that the type has already: a list of (name, value).
    ($type:ty as in $list:expr) => {
        impl $crate::config::declare::Named for $type {
            const NAMES: &'static [&'static str] = &{
                let mut names = [""; $list.len()];
                let mut position = 0;
                while position < names.len() {
                    names[position] = $list[position].0;
                    position += 1;
                }
                names
            };
            const VALUES: &'static [Self] = &{
                let mut values = [$list[0].1; $list.len()];
                let mut position = 0;
                while position < values.len() {
                    values[position] = $list[position].1;
                    position += 1;
                }
                values
            };
        }

        $crate::config::declare::names!(@decode $type);
    };
    (@decode $type:ty) => {
        impl $crate::config::declare::Decode for $type {
            const SHAPE: &'static $crate::config::declare::Shape =
                &$crate::config::declare::Shape::Choice(<Self as $crate::config::declare::Named>::NAMES);

            fn decode(
                node: &$crate::config::tree::Node,
                key: &'static $crate::config::declare::Key,
                at: &$crate::config::diagnostic::At,
                diagnostics: &mut $crate::config::diagnostic::Diagnostics,
            ) -> Option<Self> {
                $crate::config::declare::decode_name(node, key, at, diagnostics)
            }

            fn json(&self) -> serde_json::Value {
                $crate::config::declare::name_of(*self).into()
            }
        }
    };
}
pub(crate) use names;
