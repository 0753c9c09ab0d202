use super::*;

#[test]
fn the_published_model_is_imported() {
    let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
        return;
    };
    let imported = import(&Path::new(&data).join("source_models/tfjs_coco_ssd")).unwrap();
    eprintln!("{:#?}", imported.summary);
    if let Ok(out) = std::env::var("OUT") {
        std::fs::write(out, &imported.onnx).unwrap();
    }
    eprintln!("{:?}", imported.anchors.map(|a| a[..3].to_vec()));
}
