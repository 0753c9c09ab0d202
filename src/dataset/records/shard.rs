//! Names of record files: `val-00000-of-00005`, `coco_val.record-00000-of-00010`, `val-00000-of-00002.tfrecord`, `pascal.record`.

/// What a file's name says of its place in a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// What all files of the set are called.
    pub set: String,
    /// How many there are; 0 for a file that is the whole set.
    pub count: u32,
    /// Which one it is, from zero.
    pub number: u32,
    /// Its name.
    file_name: String,
}

/// Endings of record files.
const EXTENSIONS: [&str; 4] = [".tfrecords", ".tfrecord", ".records", ".record"];

/// Longer lists of shards are taken for a name that only looks like one.
const COUNT_MAX: u32 = 100_000;

impl Shard {
    /// Reads a name; `None` for a file that is called otherwise.
    pub fn parse(file_name: &str) -> Option<Self> {
        let extension = EXTENSIONS.iter().find(|end| file_name.ends_with(**end));
        let stem = extension.map_or(file_name, |end| &file_name[..file_name.len() - end.len()]);
        let shard = |set: &str, count, number| Self {
            set: without_extension(set).to_owned(),
            count,
            number,
            file_name: file_name.to_owned(),
        };
        if let Some((rest, count)) = stem.rsplit_once("-of-") {
            let (set, number) = rest.rsplit_once('-')?;
            let (count, number) = (digits(count)?, digits(number)?);
            let fits = number < count && count <= COUNT_MAX;
            return fits.then(|| shard(set, count, number));
        }
        extension.filter(|_| !stem.is_empty())?;
        Some(shard(stem, 0, 0))
    }

    /// The names that are missing from a set; its shards come in order.
    pub fn missing<'a>(shards: impl Iterator<Item = &'a Self>) -> Vec<String> {
        let shards: Vec<&Self> = shards.collect();
        let Some(first) = shards.iter().find(|shard| shard.count > 0) else {
            return Vec::new();
        };
        let have: Vec<u32> = shards.iter().map(|shard| shard.number).collect();
        let absent = (0..first.count).filter(|number| !have.contains(number));
        let of = |number: u32| format!("-{number:05}-of-");
        absent
            .map(|number| first.file_name.replacen(&of(first.number), &of(number), 1))
            .collect()
    }

    /// The name of a shard as it is written.
    pub fn file_name(set: &str, number: u32, count: u32) -> String {
        format!("{set}-{number:05}-of-{count:05}")
    }
}

/// `coco_val.record` is called `coco_val`.
fn without_extension(set: &str) -> &str {
    let end = EXTENSIONS.iter().find_map(|end| set.strip_suffix(end));
    end.filter(|set| !set.is_empty()).unwrap_or(set)
}

fn digits(text: &str) -> Option<u32> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_are_read() {
        for (name, set, count, number) in [
            ("val-00000-of-00005", "val", 5, 0),
            ("coco_val.record-00003-of-00010", "coco_val", 10, 3),
            ("val-00001-of-00002.tfrecord", "val", 2, 1),
            ("train-2012-00000-of-00001", "train-2012", 1, 0),
            ("pascal.record", "pascal", 0, 0),
            ("val.tfrecords", "val", 0, 0),
        ] {
            let shard = Shard::parse(name).unwrap();
            assert_eq!(
                (shard.set.as_str(), shard.count, shard.number),
                (set, count, number),
                "{name}"
            );
        }
        for name in [
            "val",
            "a.jpg",
            ".record",
            "val-00005-of-00005",
            "val-x-of-00005",
            "-of-",
            "val-0-of-999999999",
        ] {
            assert_eq!(Shard::parse(name), None, "{name}");
        }
        assert_eq!(Shard::file_name("val", 0, 5), "val-00000-of-00005");
    }

    #[test]
    fn missing_shards_are_named_as_the_others_are() {
        let shards = ["a.record-00000-of-00003", "a.record-00002-of-00003"]
            .map(|name| Shard::parse(name).unwrap());
        assert_eq!(Shard::missing(shards.iter()), ["a.record-00001-of-00003"]);
        let whole = [Shard::parse("a.record").unwrap()];
        assert_eq!(Shard::missing(whole.iter()), Vec::<String>::new());
    }
}
