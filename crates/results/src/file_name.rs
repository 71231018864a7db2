//! File names for sets, whose names are arbitrary text.

use std::collections::HashSet;

use tributary_files::sha256;

/// What file names of sets end in.
pub(crate) const EXTENSION: &str = ".safetensors";
/// Names up to this length are kept; a file name may have 255 bytes on common file systems.
const LONGEST_KEPT: usize = 64;
/// How much of another name is kept to make its file recognisable.
const LONGEST_SLUG: usize = 40;

/// Gives each set a file name of its own.
///
/// File names consist of `[a-z0-9_-]` and the extension, so no two of them fall together on a disk that ignores case
/// or normalises Unicode. A set name that is a safe file name is kept; any other becomes what is readable of it and a
/// part of its SHA-256, which makes the file name a function of the set name alone.
#[derive(Debug, Default)]
pub(crate) struct FileNames {
    taken: HashSet<String>,
}

impl FileNames {
    /// Keeps a file name from being given away. Any spelling that differs only in case is kept too.
    pub(crate) fn reserve(&mut self, file: &str) {
        self.taken.insert(file.to_lowercase());
    }

    /// The file name for a set.
    pub(crate) fn assign(&mut self, set: &str) -> String {
        let kept = is_safe(set).then(|| set.to_owned());
        let hashed = || format!("{}-{}", slug(set), &sha256::of(set.as_bytes())[..12]);
        // A name is only taken by a foreign file or by a set that was named to provoke it.
        let numbered = (2_usize..).map(|number| format!("{}-{number}", hashed()));
        let mut names = kept.into_iter().chain(std::iter::once_with(hashed)).chain(numbered);
        loop {
            let file = names.next().unwrap_or_default() + EXTENSION;
            if self.taken.insert(file.clone()) {
                return file;
            }
        }
    }
}

/// Whether `file` is a name as this module gives them, so that joining it to a folder stays inside the folder.
pub(crate) fn is_set_file(file: &str) -> bool {
    file.strip_suffix(EXTENSION).is_some_and(|stem| !stem.is_empty() && stem.chars().all(is_plain))
}

fn is_plain(character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9' | '_' | '-')
}

/// Whether a set name can be a file name as it is.
fn is_safe(set: &str) -> bool {
    (1..=LONGEST_KEPT).contains(&set.len())
        && set.chars().all(is_plain)
        // A leading hyphen reads as a flag on a command line.
        && !set.starts_with('-')
        && !is_reserved_on_windows(set)
}

/// Device names, which Windows reserves with any extension.
fn is_reserved_on_windows(stem: &str) -> bool {
    let numbered = |device| {
        stem.strip_prefix(device).is_some_and(|rest: &str| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit())
    };
    matches!(stem, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

/// What of a set name can stand in a file name.
fn slug(set: &str) -> String {
    let mut slug = String::new();
    for character in set.chars().map(|character| character.to_ascii_lowercase()) {
        if slug.len() == LONGEST_SLUG {
            break;
        }
        if is_plain(character) && character != '-' {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    match slug.trim_end_matches('-') {
        "" => "set".to_owned(),
        readable => readable.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_testing::config;

    use super::*;

    fn assign(set: &str) -> String {
        FileNames::default().assign(set)
    }

    #[test]
    fn safe_names_are_kept() {
        for set in ["seed_0", "prompt_12", "optimized", "a-b", "manifest", "com", "com10", "console"] {
            assert_eq!(assign(set), format!("{set}.safetensors"));
        }
    }

    #[test]
    fn other_names_stay_readable_and_apart() {
        let long = "x".repeat(10_000);
        let unsafe_names = [
            "",
            ".",
            "..",
            "../../etc/passwd",
            "a/b",
            "a\\b",
            "A",
            "CON",
            "con",
            "nul",
            "com1",
            "lpt9",
            "-rf",
            "a b",
            "trailing.",
            "trailing ",
            "tab\t",
            "zero\0",
            "quote\"",
            "\u{e9}",
            "e\u{301}",
            "\u{212a}",
            "日本",
            &long,
        ];
        let mut names = FileNames::default();
        for set in unsafe_names {
            let file = names.assign(set);
            assert_eq!(file, assign(set), "{set:?} depends on the sets before it");
            assert!(is_set_file(&file) && file.len() <= 80 && file != format!("{set}.safetensors"), "{file}");
        }
        assert_eq!(names.taken.len(), unsafe_names.len());
        assert!(assign("My Set/7").starts_with("my-set-7-"));
        assert!(assign("日本").starts_with("set-"));
    }

    #[test]
    fn a_taken_name_is_avoided() {
        let mut names = FileNames::default();
        names.reserve("Seed_0.SAFETENSORS");
        let hashed = names.assign("seed_0");
        assert!(hashed.starts_with("seed_0-"), "{hashed}");
        // A set that was named to fall together with the one above.
        let provoked = hashed.strip_suffix(".safetensors").unwrap();
        assert_ne!(names.assign(provoked), hashed);
    }

    #[test]
    fn paths_are_not_set_files() {
        for file in ["", ".safetensors", "../a.safetensors", "a/b.safetensors", "manifest.json", "A.safetensors"] {
            assert!(!is_set_file(file), "{file:?}");
        }
    }

    proptest! {
        #![proptest_config(config(256))]

        #[test]
        fn file_names_are_safe_and_distinct(sets in prop::collection::hash_set("(?s).{0,6}|[aAbB./\\-]{0,4}|[a-z]{60,70}", 0..20)) {
            let mut names = FileNames::default();
            let files: HashSet<String> = sets.iter().map(|set| names.assign(set).to_uppercase()).collect();
            prop_assert_eq!(files.len(), sets.len());
            prop_assert!(files.iter().all(|file| is_set_file(&file.to_lowercase()) && file.len() <= 80));
        }
    }
}
