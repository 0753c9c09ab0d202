//! Feature maps of another size.

use super::*;

#[test]
fn feature_maps_are_resized_as_their_flags_say() {
    let graph = converted(|source| {
        let flags = json!({"half_pixel_centers": {"b": true}});
        source
            .integers("size", &[2], &[12, 9])
            .node(node("ResizeBilinear", "wide", &["conv", "size"], flags))
            .integers("back", &[2], &[6, 6])
            .node(node(
                "ResizeNearestNeighbor",
                "features",
                &["wide", "back"],
                json!({}),
            ))
    });
    let resized: Vec<&String> = graph
        .iter()
        .filter(|line| line.contains("Resize"))
        .collect();
    assert_eq!(resized.len(), 2, "{graph:?}");
}
