//! Drawings, pixel by pixel as they were when somebody last looked at them (`tests/golden/drawings`).
//!
//! After a wanted change run with `DETBENCH_WRITE_SNAPSHOTS=1`, look at the pictures, and commit them.

use std::fs;
use std::path::Path;

use detbench::annotate::{
    annotate, color, side_by_side, write_png, Mark, EMPHASIS, FAINT, RIGHT, TRUTH,
};
use detbench::library::decode::{decode, Picture};

/// A soft slope of grey-blue, on which every colour shows.
fn backdrop(width: u32, height: u32) -> Picture {
    let pixel = |at: u32| {
        let (x, y) = (at % width, at / width);
        let shade = (60 + 90 * x / width + 60 * y / height) as u8;
        [shade, shade, shade.saturating_add(25)]
    };
    Picture {
        width,
        height,
        rgb: (0..width * height).flat_map(pixel).collect(),
    }
}

fn mark(edges: [f64; 4], label: &str, index: usize) -> Mark {
    Mark {
        edges,
        label: label.to_owned(),
        color: color(index),
        is_dashed: false,
        gives_way: false,
    }
}

fn assert_is_as_seen(name: &str, drawn: &Picture) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/drawings")
        .join(name);
    if std::env::var_os("DETBENCH_WRITE_SNAPSHOTS").is_some() {
        write_png(&path, drawn).unwrap();
    }
    let seen = decode(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        (seen.width, seen.height),
        (drawn.width, drawn.height),
        "{name}"
    );
    let differing = seen.rgb.iter().zip(&drawn.rgb).filter(|(a, b)| a != b);
    assert_eq!(differing.count(), 0, "{name}: bytes that differ");
}

#[test]
fn boxes_and_labels_are_drawn_as_somebody_saw_them() {
    let marks = [
        mark([20.0, 40.0, 140.0, 170.0], "dog 0.93", 0),
        mark([100.0, 30.0, 260.0, 150.0], "bicycle 0.88", 1),
        // At the picture's edge, and beyond it: the label goes inside.
        mark([-20.0, -10.0, 60.0, 30.0], "truck 0.71", 2),
        mark([230.0, 150.0, 330.0, 220.0], "cat 0.55", 3),
        // On one place: the labels make room for each other.
        mark([150.0, 165.0, 200.0, 190.0], "cup 0.51", 4),
        mark([152.0, 166.0, 202.0, 191.0], "bowl 0.40", 5),
    ];
    assert_is_as_seen("detections.png", &annotate(&backdrop(300, 200), &marks));
}

#[test]
fn a_crowd_of_small_boxes_keeps_its_labels_near_or_leaves_them_out() {
    let marks: Vec<Mark> = (0..24)
        .map(|number| {
            let (x, y) = (
                f64::from(number % 8) * 12.0 + 90.0,
                f64::from(number / 8) * 14.0 + 80.0,
            );
            mark(
                [x, y, x + 10.0, y + 12.0],
                &format!("person 0.{}", 90 - number),
                number as usize,
            )
        })
        .collect();
    assert_is_as_seen("crowd.png", &annotate(&backdrop(300, 200), &marks));
}

#[test]
fn the_laboratorys_panels_show_what_only_one_mode_found() {
    let panel = |alone: &[Mark]| {
        let mut marks = alone.to_vec();
        marks.push(Mark {
            color: FAINT,
            gives_way: true,
            ..mark([60.0, 60.0, 200.0, 150.0], "person 0.79", 0)
        });
        marks.push(Mark {
            color: TRUTH,
            is_dashed: true,
            gives_way: true,
            ..mark([64.0, 30.0, 190.0, 150.0], "", 0)
        });
        annotate(&backdrop(260, 170), &marks)
    };
    let only = |color, edges, label| Mark {
        color,
        ..mark(edges, label, 0)
    };
    let regular = panel(&[
        only(RIGHT, [62.0, 32.0, 192.0, 148.0], "toilet 0.67"),
        only(EMPHASIS, [120.0, 90.0, 250.0, 160.0], "chair 0.35"),
    ]);
    let fast = panel(&[]);
    let whole = side_by_side(&[
        ("regular alone: 1 right", &regular),
        ("fast alone: 0 right", &fast),
    ]);
    assert_is_as_seen("laboratory.png", &whole);
}
