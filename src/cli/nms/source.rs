//! Where the laboratory gets raw heads: a folder or an archive, or a model that is run picture by picture.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{NmsArgs, RevisionArg};
use crate::accuracy::{GroundTruth, ImageFacts};
use crate::cli::detector_args::ThresholdArgs;
use crate::cli::failure::{Blame, Failure};
use crate::cli::inference::{no_raw_heads, Inference};
use crate::cli::run::args::NmsArg;
use crate::cli::run::{load_runtime, open_library, Subject, SubjectRequest};
use crate::cli::setup::progress_for;
use crate::clock::{Clock, Monotonic};
use crate::laboratory::compare::Method;
use crate::laboratory::folder::RawFolder;
use crate::laboratory::{Quantizations, RawHeads};
use crate::library::coco::AnnotationSource;
use crate::library::{LibraryOptions, PictureLibrary, SampleLibrary};
use crate::model::Labels;
use crate::postprocess::tflite::Options;
use crate::units::SampleIndex;

/// A picture under study.
pub struct Specimen {
    place: Place,
    /// The picture's file, for drawing; its name for people.
    pub picture: PathBuf,
    /// Its id in the ground truth.
    pub image_id: i64,
    /// Its width and height in pixels.
    pub size: (u32, u32),
}

/// Where a picture's heads are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// In an archive, at a position of its batch.
    Archive(PathBuf, usize),
    /// Behind a model that looks at a picture of its library.
    Library(SampleIndex),
}

impl Specimen {
    /// Where its heads come from, for errors.
    pub fn origin(&self) -> &Path {
        match &self.place {
            Place::Archive(path, _) => path,
            Place::Library(_) => &self.picture,
        }
    }
}

/// Everything that is studied.
pub struct Source {
    /// The model or the file.
    pub title: String,
    /// What the classes are called.
    pub labels: Labels,
    /// The model's own thresholds and limits; `None` for an archive, which does not say.
    pub base: Option<Options>,
    /// By what detections are made.
    pub method: Method,
    /// The pictures, by their ids.
    pub specimens: Vec<Specimen>,
    /// The ground truth, where there is one.
    pub truth: Option<GroundTruth>,
    heads: HeadReader,
}

/// What gives the heads of a picture.
pub enum HeadReader {
    /// Archives; the last one is kept, because a batch is read once.
    Archives {
        quantizations: Quantizations,
        held: Option<(PathBuf, Rc<RawHeads>)>,
    },
    /// A model.
    Model(Box<OpenModel>),
}

/// A model and its pictures.
pub struct OpenModel {
    inference: Inference,
    library: PictureLibrary,
    anchors: Vec<[f32; 4]>,
    /// Of each picture.
    inference_us: Vec<f64>,
}

impl HeadReader {
    /// The heads of a picture, and its position in their batch.
    ///
    /// # Errors
    /// [`Failure`]: an archive that cannot be used, a picture that cannot be decoded, a model that fails.
    pub fn read(&mut self, specimen: &Specimen) -> Result<(Rc<RawHeads>, usize), Failure> {
        match (self, &specimen.place) {
            (Self::Archives { held, .. }, Place::Archive(path, position))
                if held.as_ref().is_some_and(|(known, _)| known == path) =>
            {
                let (_, heads) = held.as_ref().expect("matched above");
                Ok((Rc::clone(heads), *position))
            }
            (
                Self::Archives {
                    quantizations,
                    held,
                },
                Place::Archive(path, position),
            ) => {
                let heads = Rc::new(RawHeads::read(path, *quantizations).or_usage()?);
                *held = Some((path.clone(), Rc::clone(&heads)));
                Ok((heads, *position))
            }
            (Self::Model(model), Place::Library(index)) => Ok((Rc::new(model.look(*index)?), 0)),
            _ => unreachable!("a reader reads the specimens that were opened with it"),
        }
    }
}

impl OpenModel {
    fn look(&mut self, index: SampleIndex) -> Result<RawHeads, Failure> {
        let samples = self.library.load(&[index], &|_| {}).or_usage()?;
        let clock = Monotonic::new();
        let begun = clock.now();
        self.inference.run(samples.tensor(index))?;
        let took = clock.now().saturating_since(begun);
        self.inference_us.push(took.as_nanos() as f64 / 1e3);
        let (boxes, scores) = self.inference.raw_heads()?;
        let (rows, anchors) = (boxes.len() / 4, self.anchors.len());
        if rows != anchors || scores.len() % anchors.max(1) != 0 {
            return Err(Failure::usage(format!(
                "the model gives {rows} boxes and {} scores, but its model file has {anchors} anchors",
                scores.len()
            )));
        }
        Ok(RawHeads::of_picture(boxes, scores, &self.anchors))
    }
}

impl Source {
    /// Opens what the flags name.
    ///
    /// # Errors
    /// [`Failure`]: files and flags that cannot be used, a model that cannot be found.
    pub fn open(args: &NmsArgs) -> Result<Self, Failure> {
        let mut source = match &args.input {
            None => Self::from_model(args)?,
            Some(input) => {
                let truth = args.annotations.as_deref().map(GroundTruth::read);
                let truth = truth.transpose().or_usage()?;
                if input.is_dir() {
                    Self::from_folder(args, input, truth)?
                } else {
                    Self::from_archive(args, input, truth)?
                }
            }
        };
        // The matches number the pictures by their ids; so does everything here.
        source.specimens.sort_by_key(|specimen| specimen.image_id);
        let mut pairs = source.specimens.windows(2);
        match pairs.find(|pair| pair[0].image_id == pair[1].image_id) {
            None => Ok(source),
            Some(pair) => Err(Failure::usage(format!(
                "{}: image id {} stands twice",
                pair[1].origin().display(),
                pair[0].image_id
            ))),
        }
    }

    /// What an inference took, picture by picture, where a model was run.
    pub fn inference_us(&self) -> &[f64] {
        match &self.heads {
            HeadReader::Archives { .. } => &[],
            HeadReader::Model(model) => &model.inference_us,
        }
    }

    /// The pictures, and what reads their heads.
    pub fn parts(&mut self) -> (&[Specimen], &mut HeadReader) {
        (&self.specimens, &mut self.heads)
    }

    fn from_model(args: &NmsArgs) -> Result<Self, Failure> {
        let progress = progress_for(args.json);
        let asked = SubjectRequest {
            model: &args.model,
            thresholds: &ThresholdArgs::default(),
            nms: NmsArg::Both,
            names_mode: false,
        };
        let subject = Subject::prepare(asked, progress.as_ref())?;
        let description = &subject.description;
        let Some((raw, anchors)) = subject.reading.raw_heads() else {
            return Err(no_raw_heads(&description.name));
        };
        let preprocessing = &description.input.preprocessing;
        let (images, annotations) = (args.images.as_deref(), args.annotations.as_deref());
        if images.is_none() && annotations.is_some() {
            return Err(Failure::usage(
                "--annotations needs the pictures that it is about: pass --images DIR",
            ));
        }
        let options = LibraryOptions::default();
        let (library, _notes) = open_library(
            images,
            annotations,
            preprocessing,
            options,
            progress.as_ref(),
        )?;
        let truth = match library.annotations() {
            None => None,
            Some(AnnotationSource::File(path)) => Some(GroundTruth::read(path).or_usage()?),
            Some(AnnotationSource::BuiltIn { text, .. }) => Some(text.parse().or_usage()?),
        };
        let are_trained = description.weights.are_trained();
        if !are_trained && annotations.is_some() {
            return Err(Failure::usage(format!(
                "--annotations: {} has synthetic weights, so there is nothing to score; leave --annotations out to see what each mode costs",
                description.name
            )));
        }
        let truth = truth.filter(|_| are_trained);
        let runtime = load_runtime(args.runtime.ort_lib.as_deref(), progress.as_ref())?;
        let specimens = (0..).map(SampleIndex).zip(library.pictures());
        let specimens = specimens.map(|(index, entry)| Specimen {
            place: Place::Library(index),
            picture: entry.place.path().to_owned(),
            image_id: entry.image_id,
            size: (entry.width, entry.height),
        });
        let folder = RawFolder::new(&description.name, &description.labels, raw);
        Ok(Self {
            title: if are_trained {
                description.name.clone()
            } else {
                format!("{} (synthetic weights)", description.name)
            },
            labels: description.labels.clone(),
            base: Some(folder.options()),
            method: method(args, &folder)?,
            specimens: specimens.collect(),
            truth,
            heads: HeadReader::Model(Box::new(OpenModel {
                inference: Inference::open(&subject, &runtime)?,
                library,
                anchors: anchors.to_vec(),
                inference_us: Vec::new(),
            })),
        })
    }

    fn from_folder(
        args: &NmsArgs,
        input: &Path,
        truth: Option<GroundTruth>,
    ) -> Result<Self, Failure> {
        let folder = RawFolder::read(input).or_usage()?;
        let specimens: Vec<Specimen> = folder
            .pictures
            .iter()
            .map(|picture| Specimen {
                place: Place::Archive(input.join(&picture.file), 0),
                picture: moved(args.images.as_deref(), &picture.picture),
                image_id: picture.image_id,
                size: (picture.width, picture.height),
            })
            .collect();
        if specimens.is_empty() {
            let folder = input.display();
            return Err(Failure::usage(format!("{folder} lists no pictures")));
        }
        Ok(Self {
            title: folder.model.clone(),
            base: Some(folder.options()),
            method: method(args, &folder)?,
            labels: folder.labels,
            specimens,
            truth,
            heads: HeadReader::archives(args),
        })
    }

    /// One archive: a picture by its name, or a batch in the order of the annotations' images.
    fn from_archive(
        args: &NmsArgs,
        input: &Path,
        truth: Option<GroundTruth>,
    ) -> Result<Self, Failure> {
        let file = input.display();
        let heads = RawHeads::read(input, args.quantizations()).or_usage()?;
        let count = heads.picture_count();
        if count == 0 {
            return Err(Failure::usage(format!(
                "{file} holds a batch of no pictures"
            )));
        }
        let facts: Vec<ImageFacts> = match &truth {
            Some(truth) if truth.images().len() == count => truth.images().to_vec(),
            Some(truth) => {
                let stem = input.file_stem().unwrap_or_default().to_string_lossy();
                let is_called_so = |image: &&ImageFacts| {
                    stem.parse() == Ok(image.id)
                        || Path::new(&image.file_name).file_stem() == input.file_stem()
                };
                match truth.images().iter().find(is_called_so) {
                    Some(image) if count == 1 => vec![image.clone()],
                    _ => {
                        return Err(Failure::usage(format!(
                            "{file} holds {count} pictures and the annotations {}; give as many, or name a single \
                             picture's archive as its picture or its image id",
                            truth.images().len()
                        )))
                    }
                }
            }
            None => (0_i64..)
                .take(count)
                .map(|id| ImageFacts {
                    id,
                    file_name: format!("picture {id}"),
                    width: 1,
                    height: 1,
                })
                .collect(),
        };
        let specimens = facts
            .into_iter()
            .enumerate()
            .map(|(position, image)| Specimen {
                place: Place::Archive(input.to_owned(), position),
                picture: moved(args.images.as_deref(), Path::new(&image.file_name)),
                image_id: image.id,
                size: (image.width, image.height),
            });
        Ok(Self {
            title: input.display().to_string(),
            labels: Labels::Coco91,
            base: None,
            method: Method::Op(args.tflite_revision.into()),
            specimens: specimens.collect(),
            truth,
            heads: HeadReader::archives(args),
        })
    }
}

impl HeadReader {
    fn archives(args: &NmsArgs) -> Self {
        Self::Archives {
            quantizations: args.quantizations(),
            held: None,
        }
    }
}

/// What makes the detections of a model: the op, or its family's own procedure.
fn method(args: &NmsArgs, folder: &RawFolder) -> Result<Method, Failure> {
    match folder.procedure {
        None => Ok(Method::Op(args.tflite_revision.into())),
        Some(_) if args.tflite_revision == RevisionArg::R2 => Err(Failure::usage(format!(
            "--tflite-revision has no meaning for {}, which is not post-processed by the op; remove it",
            folder.model
        ))),
        Some(own) => Ok(Method::Family(own)),
    }
}

/// A picture's path, in another folder when the user names one.
fn moved(folder: Option<&Path>, picture: &Path) -> PathBuf {
    match (folder, picture.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => picture.to_owned(),
    }
}
