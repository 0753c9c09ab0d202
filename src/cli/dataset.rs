//! `detbench dataset`: what a data set holds, and the same data set in another form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::failure::{Blame, Failure, Outcome};
use super::interrupt::is_interrupted;
use super::{print_err, print_json, print_out};
use crate::dataset::convert::{convert, ConvertError, Target};
use crate::dataset::records::Style;
use crate::dataset::{Dataset, Request, Truth};

/// Look at a data set, or convert it
#[derive(Debug, Clone, Args)]
pub struct DatasetArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Say what a data set holds; records are read from end to end
    Show(ShowArgs),
    /// Write a data set as TFRecords, or as the folders in which COCO and VOC are published
    Convert(ConvertArgs),
}

/// Which data set.
#[derive(Debug, Clone, Args)]
struct Source {
    /// A COCO or Pascal VOC folder, TFRecords (their folder or one file), or a folder of pictures
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Which part, such as val2014, VOC's test, or the first word of the records' names
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// COCO's JSON in the place of what comes with the data set
    #[arg(long, value_name = "FILE")]
    annotations: Option<PathBuf>,
    /// Leave out pictures and shards that are missing
    #[arg(long)]
    skip_missing: bool,
}

#[derive(Debug, Clone, Args)]
struct ShowArgs {
    #[command(flatten)]
    source: Source,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
struct ConvertArgs {
    #[command(flatten)]
    source: Source,
    /// The folder to write; it must not be there yet, or be empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = To::Tfrecord)]
    to: To,
    /// Whose feature keys the records have
    #[arg(long, value_enum, default_value_t = StyleArg::Tfod)]
    style: StyleArg,
    /// How many files of records
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    shards: u32,
    /// The first word of the records' names, the folder of COCO's pictures, or VOC's list [default: val; val2017 for
    /// COCO's folders]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
}

/// `--to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// TFRecords of `tf.train.Example`.
    Tfrecord,
    /// COCO's folders, or VOC's for a VOC data set.
    Folder,
}

/// `--style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StyleArg {
    /// The TF Object Detection API's.
    Tfod,
    /// HiKapok's SSD, as Intel's `ssd_vgg16` reads them: COCO's classes from 1 to 80.
    Hikapok,
}

impl From<StyleArg> for Style {
    fn from(style: StyleArg) -> Self {
        match style {
            StyleArg::Tfod => Self::Tfod,
            StyleArg::Hikapok => Self::Hikapok,
        }
    }
}

/// A word that is part of a file's name.
fn parse_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = !text.is_empty() && text.chars().all(fits) && !text.starts_with(['.', '-']);
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| "give letters, digits, `-`, `_` and `.`, a letter or digit first".to_owned())
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]: a data set that cannot be read, an output that is there or cannot be written.
pub fn run(args: &DatasetArgs) -> Result<Outcome, Failure> {
    match &args.what {
        What::Show(args) => show(args).map(|()| Outcome::Done),
        What::Convert(args) => write(args),
    }
}

impl Source {
    fn open(&self) -> Result<Dataset, Failure> {
        Dataset::open(&Request {
            path: &self.path,
            annotations: self.annotations.as_deref(),
            split: self.split.as_deref(),
            skip_missing: self.skip_missing,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        })
        .or_usage()
    }
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let dataset = args.source.open()?;
    let facts = Facts::of(&dataset);
    if args.json {
        return print_json(&json!({
            "schema_version": 1,
            "name": dataset.name,
            "form": dataset.form.describe(),
            "picture_count": dataset.pictures.len(),
            "truth": facts.metric,
            "truth_source": dataset.truth_source,
            "object_count": facts.objects,
            "crowd_count": facts.crowds,
            "difficult_count": facts.difficult,
            "objects_per_class": facts.classes,
            "notes": dataset.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }));
    }
    print_out(&facts.text(&dataset))
}

/// What there is to find in a data set, counted.
#[derive(Debug, Default)]
struct Facts {
    /// `coco`, `voc`, or nothing.
    metric: Option<&'static str>,
    objects: usize,
    crowds: usize,
    difficult: usize,
    classes: BTreeMap<String, usize>,
}

impl Facts {
    fn of(dataset: &Dataset) -> Self {
        let mut facts = Self::default();
        match &dataset.truth {
            None => {}
            Some(Truth::Coco(instances)) => {
                facts.metric = Some("coco");
                let categories = instances.categories.iter();
                let names: BTreeMap<i64, &String> = categories
                    .map(|category| (category.id, &category.name))
                    .collect();
                for found in &instances.annotations {
                    facts.objects += 1;
                    facts.crowds += usize::from(found.is_crowd);
                    if let Some(name) = names.get(&found.category_id) {
                        *facts.classes.entry((*name).clone()).or_default() += 1;
                    }
                }
            }
            Some(Truth::Voc(objects)) => {
                facts.metric = Some("voc");
                for object in objects {
                    facts.objects += 1;
                    facts.difficult += usize::from(object.is_difficult);
                    *facts.classes.entry(object.class.clone()).or_default() += 1;
                }
            }
        }
        facts
    }

    fn text(&self, dataset: &Dataset) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "data set  {}, {}",
            dataset.name,
            dataset.form.describe()
        );
        let _ = writeln!(text, "pictures  {}", dataset.pictures.len());
        let _ = match self.metric {
            None => writeln!(text, "truth     none, so a run on it has no accuracy"),
            Some("voc") => writeln!(
                text,
                "truth     {} objects of {} classes, {} of them difficult; scored as Pascal VOC",
                self.objects,
                self.classes.len(),
                self.difficult
            ),
            Some(_) => writeln!(
                text,
                "truth     {} objects of {} classes, {} of them crowds; scored as COCO",
                self.objects,
                self.classes.len(),
                self.crowds
            ),
        };
        if let Some(source) = &dataset.truth_source {
            let _ = writeln!(text, "from      {source}");
        }
        let mut classes: Vec<(&String, &usize)> = self.classes.iter().collect();
        classes.sort_by(|a, b| b.1.cmp(a.1));
        if !classes.is_empty() {
            let most: Vec<String> = classes
                .iter()
                .take(8)
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            let more = if classes.len() > 8 { ", ..." } else { "" };
            let _ = writeln!(text, "classes   {}{more}", most.join(", "));
        }
        for note in &dataset.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

fn write(args: &ConvertArgs) -> Result<Outcome, Failure> {
    let dataset = args.source.open()?;
    let target = target(args, &dataset);
    for note in &dataset.notes {
        print_err(&format!("note: {note}"));
    }
    let bar = ProgressBar::new(dataset.pictures.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} pictures") {
        bar.set_style(style);
    }
    let done = convert(&dataset, &target, &args.output, &mut |done| {
        bar.set_position(done as u64);
        !is_interrupted()
    });
    bar.finish_and_clear();
    let written = match done {
        Ok(written) => written,
        Err(ConvertError::Interrupted) => return Ok(Outcome::Interrupted),
        Err(error @ ConvertError::Write { .. }) => return Err(Failure::environment(error)),
        Err(error) => return Err(Failure::usage(error)),
    };
    let form = match &target {
        Target::Records { style, .. } => match style {
            Style::Tfod => "TFRecords in the TF Object Detection API's style",
            Style::Hikapok => "TFRecords in HiKapok's style",
        },
        Target::Folders { .. } => "folders",
    };
    print_out(&format!(
        "{} pictures and {} objects written to {} as {form}: {} file{}, {:.1} MB\n",
        written.pictures,
        written.objects,
        args.output.display(),
        written.files,
        if written.files == 1 { "" } else { "s" },
        written.size_bytes as f64 / 1e6
    ))?;
    Ok(Outcome::Done)
}

fn target(args: &ConvertArgs, dataset: &Dataset) -> Target {
    let named = |usual: &str| args.name.clone().unwrap_or_else(|| usual.to_owned());
    match args.to {
        To::Tfrecord => Target::Records {
            name: named("val"),
            shards: args.shards,
            style: args.style.into(),
        },
        To::Folder => Target::Folders {
            name: match dataset.truth {
                Some(Truth::Voc(_)) => named("val"),
                Some(Truth::Coco(_)) | None => named("val2017"),
            },
        },
    }
}
