//! The twenty classes of VOC under the names that COCO has for them.

/// Classes that the two sets call by other names, VOC's first; the other fourteen have one name.
const DIFFERENT: [(&str, &str); 6] = [
    ("aeroplane", "airplane"),
    ("diningtable", "dining table"),
    ("motorbike", "motorcycle"),
    ("pottedplant", "potted plant"),
    ("sofa", "couch"),
    ("tvmonitor", "tv"),
];

/// VOC's name of a class of COCO's; a name that is no class of both comes back as it is.
pub fn voc_name(coco: &str) -> &str {
    let pair = DIFFERENT.iter().find(|(_, theirs)| *theirs == coco);
    pair.map_or(coco, |(ours, _)| ours)
}

/// COCO's name of a class of VOC's; a name that is no class of both comes back as it is.
pub fn coco_name(voc: &str) -> &str {
    let pair = DIFFERENT.iter().find(|(ours, _)| *ours == voc);
    pair.map_or(voc, |(_, theirs)| theirs)
}

#[cfg(test)]
mod tests {
    use super::super::CLASSES;
    use super::*;

    #[test]
    fn all_twenty_classes_have_a_name_on_both_sides() {
        for class in CLASSES {
            assert_eq!(voc_name(coco_name(class)), class);
        }
        assert_eq!(coco_name("tvmonitor"), "tv");
        assert_eq!(voc_name("dog"), "dog");
        assert_eq!(voc_name("zebra"), "zebra");
    }
}
