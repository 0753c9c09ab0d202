//! The layouts in which COCO and VOC are published.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::super::voc_folder::{ANNOTATIONS, PICTURES};
use super::super::{voc_name, Truth};
use super::{load, ConvertError, Job, Loaded};
use crate::accuracy::voc::VocObject;
use crate::library::coco::CocoInstances;
use crate::library::ListedPicture;

/// COCO's JSON.
#[derive(Serialize)]
struct Instances<'a> {
    images: Vec<Image<'a>>,
    annotations: Vec<Annotation>,
    categories: Vec<Category<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    id: i64,
    file_name: &'a str,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Annotation {
    id: i64,
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<f64>,
    iscrowd: u8,
}

#[derive(Serialize)]
struct Category<'a> {
    id: i64,
    name: &'a str,
}

impl Job<'_> {
    /// COCO's folders, VOC's for a VOC data set, and pictures alone where nothing is known of them.
    pub(super) fn folders(&mut self, name: &str) -> Result<(), ConvertError> {
        let dataset = self.dataset;
        match &dataset.truth {
            Some(Truth::Voc(objects)) => self.voc_folders(name, objects),
            Some(Truth::Coco(instances)) => {
                let sizes = self.pictures(name)?;
                self.write_instances(name, instances, &sizes)
            }
            None => self.pictures(name).map(|_| ()),
        }
    }

    /// Copies the pictures into `folder`; gives their sizes.
    fn pictures(&mut self, folder: &str) -> Result<Vec<(u32, u32)>, ConvertError> {
        let dataset = self.dataset;
        let mut sizes = Vec::with_capacity(dataset.pictures.len());
        for picture in &dataset.pictures {
            let loaded = load(picture)?;
            self.write_picture(folder, picture, &loaded)?;
            sizes.push(loaded.size);
            self.done(0, loaded.bytes.len())?;
        }
        Ok(sizes)
    }

    fn write_picture(
        &mut self,
        folder: &str,
        picture: &ListedPicture,
        loaded: &Loaded,
    ) -> Result<(), ConvertError> {
        let relative = Path::new(&picture.file_name);
        let mut parts = relative.components();
        let is_inside = parts.all(|part| matches!(part, Component::Normal(_)));
        let refused = || ConvertError::FileName {
            file_name: picture.file_name.clone(),
        };
        if !is_inside || picture.file_name.is_empty() {
            return Err(refused());
        }
        let path = self.root.join(folder).join(relative);
        let parent = path.parent().expect("a file in a folder has a parent");
        fs::create_dir_all(parent).map_err(|source| write_error(parent, source))?;
        if path.exists() {
            return Err(refused());
        }
        fs::write(&path, &loaded.bytes).map_err(|source| write_error(&path, source))?;
        self.written.files += 1;
        Ok(())
    }

    fn write_instances(
        &mut self,
        name: &str,
        truth: &CocoInstances,
        sizes: &[(u32, u32)],
    ) -> Result<(), ConvertError> {
        let images = self.dataset.pictures.iter().zip(sizes);
        let images: Vec<Image<'_>> = images
            .map(|(picture, &(width, height))| Image {
                id: picture.image_id,
                file_name: &picture.file_name,
                width,
                height,
            })
            .collect();
        let mut ids: Vec<i64> = images.iter().map(|image| image.id).collect();
        ids.sort_unstable();
        let here = |image_id| ids.binary_search(&image_id).is_ok();
        let annotations = truth
            .annotations
            .iter()
            .filter(|found| here(found.image_id));
        let annotations: Vec<Annotation> = annotations
            .map(|found| Annotation {
                id: found.id,
                image_id: found.image_id,
                category_id: found.category_id,
                bbox: found.bbox,
                area: found.area,
                iscrowd: u8::from(found.is_crowd),
            })
            .collect();
        self.written.objects = annotations.len();
        let categories = truth.categories.iter().map(|category| Category {
            id: category.id,
            name: &category.name,
        });
        let document = Instances {
            images,
            annotations,
            categories: categories.collect(),
        };
        let folder = self.root.join("annotations");
        fs::create_dir_all(&folder).map_err(|source| write_error(&folder, source))?;
        let path = folder.join(format!("instances_{name}.json"));
        let failed = |source| write_error(&path, source);
        let mut out = BufWriter::new(File::create_new(&path).map_err(failed)?);
        serde_json::to_writer(&mut out, &document).map_err(|error| failed(error.into()))?;
        out.flush().map_err(failed)
    }

    fn voc_folders(&mut self, name: &str, objects: &[VocObject]) -> Result<(), ConvertError> {
        let dataset = self.dataset;
        let lists = self.root.join("ImageSets").join("Main");
        let annotations = self.root.join(ANNOTATIONS);
        for folder in [&lists, &annotations] {
            fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
        }
        let mut list = String::new();
        for picture in &dataset.pictures {
            let loaded = load(picture)?;
            self.write_picture(PICTURES, picture, &loaded)?;
            let image = voc_name(&picture.file_name);
            let own: Vec<&VocObject> = objects.iter().filter(|one| one.image == image).collect();
            let path = annotations.join(format!("{image}.xml"));
            let text = annotation_text(&picture.file_name, loaded.size, &own);
            fs::write(&path, text).map_err(|source| write_error(&path, source))?;
            let _ = writeln!(list, "{image}");
            self.done(own.len(), loaded.bytes.len())?;
        }
        let path = lists.join(format!("{name}.txt"));
        fs::write(&path, list).map_err(|source| write_error(&path, source))
    }
}

fn write_error(path: &Path, source: std::io::Error) -> ConvertError {
    let path: PathBuf = path.to_owned();
    ConvertError::Write { path, source }
}

/// A picture's XML file.
fn annotation_text(file_name: &str, (width, height): (u32, u32), objects: &[&VocObject]) -> String {
    let mut text = format!(
        "<annotation>\n\t<filename>{}</filename>\n\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\
         \t\t<depth>3</depth>\n\t</size>\n",
        escaped(file_name)
    );
    for object in objects {
        let [x_min, y_min, x_max, y_max] = object.corners;
        let _ = write!(
            text,
            "\t<object>\n\t\t<name>{}</name>\n\t\t<truncated>{}</truncated>\n\t\t<difficult>{}</difficult>\n\t\t<bndbox>\n\
             \t\t\t<xmin>{x_min}</xmin>\n\t\t\t<ymin>{y_min}</ymin>\n\t\t\t<xmax>{x_max}</xmax>\n\t\t\t<ymax>{y_max}</ymax>\n\
             \t\t</bndbox>\n\t</object>\n",
            escaped(&object.class),
            u8::from(object.is_truncated),
            u8::from(object.is_difficult),
        );
    }
    text.push_str("</annotation>\n");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
