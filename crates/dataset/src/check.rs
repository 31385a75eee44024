//! What is looked for in a data set: each check with its name, how serious it is, and what mends it.

use std::fmt;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Part of the data cannot be used as it stands, or figures measured on it mislead.
    Error,
    /// Usable, but likely not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

macro_rules! checks {
    ($($variant:ident $id:literal $severity:ident $title:literal, $fix:literal;)*) => {
        /// A kind of fault. Its [`id`](Check::id) never changes, so that scripts may rely on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $(#[doc = $title] $variant,)*
        }

        impl Check {
            /// Every check, those of the description first, then labels, pictures, names and classes.
            pub const ALL: &[Check] = &[$(Check::$variant),*];

            /// Its stable name, such as `label-outside`.
            pub fn id(self) -> &'static str {
                match self { $(Check::$variant => $id),* }
            }

            /// How serious it is.
            pub fn severity(self) -> Severity {
                match self { $(Check::$variant => Severity::$severity),* }
            }

            /// What it is, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Check::$variant => $title),* }
            }

            /// What would mend it.
            pub fn fix(self) -> &'static str {
                match self { $(Check::$variant => $fix),* }
            }
        }
    };
}

checks! {
    Description "description" Error "The description cannot be used as it stands",
        "correct the file named; docs/data.md shows its form";
    ListMissing "list-missing" Error "A file list names a picture that does not exist",
        "correct the line, or take it out of the list";
    ListTwice "list-twice" Warning "A file list names a picture twice",
        "take one of the lines out";

    LabelUnreadable "label-unreadable" Error "A label file cannot be read",
        "make it a readable text file";
    LabelText "label-text" Error "Text where a number belongs",
        "write the row as `class cx cy w h`, or take it out";
    LabelNotFinite "label-not-finite" Error "A value that is no finite number",
        "draw the box again, or take the row out";
    LabelColumns "label-columns" Error "A row with the wrong number of columns",
        "write the row as `class cx cy w h`, or as a class and the corners of a segment";
    LabelClass "label-class" Error "A class that the description does not name",
        "correct the row, or name the class in dataset.yaml";
    LabelOutside "label-outside" Error "A box that reaches outside its picture",
        "draw it inside the picture; `--fix` cuts it off at the edge";
    LabelPixels "label-pixels" Error "Pixels where shares of the picture belong",
        "divide x and width by the picture's width, y and height by its height; `--fix` does so";
    LabelNoArea "label-no-area" Error "A box without area",
        "draw it again, or take the row out";
    LabelTwice "label-twice" Warning "The same object on two rows",
        "take one of the rows out";
    LabelsNone "labels-none" Error "A split without a single label file",
        "put the label files where they are looked for; docs/data.md says where";
    LabelMissing "label-missing" Warning "A picture without a label file",
        "add the file; an empty one says that the picture shows nothing";
    LabelOrphan "label-orphan" Warning "A label file without a picture",
        "add the picture, or remove the file";
    BoxNearTwice "box-near-duplicate" Warning "Two boxes of a class in nearly the same place",
        "if both mean one object, take one of the rows out";
    BoxTwoClasses "box-two-classes" Warning "Two classes in the same place",
        "take the wrong row out";
    BoxWhole "box-whole-picture" Note "A box around the whole picture",
        "make sure that the object fills its picture";
    ObjectTiny "object-tiny" Note "An object that is tiny at the training's size",
        "train with a larger `imgsz`, cut the pictures into tiles, or leave such objects out";
    PictureCrowded "picture-crowded" Note "More objects than a validation keeps",
        "raise `max_det` for validation and prediction";

    PictureEmpty "picture-empty" Error "An empty picture file",
        "copy the picture again";
    PictureTruncated "picture-truncated" Error "A picture file that is cut short",
        "copy the picture again";
    PictureUnreadable "picture-unreadable" Error "A file that is no readable picture",
        "save it again from the original, or take it out";
    PictureExtension "picture-extension" Warning "A name that says another format than the content",
        "rename the file; this program goes by the content, others by the name";
    PictureSmall "picture-small" Warning "A very small picture",
        "use the original instead of a thumbnail";
    PictureBlank "picture-blank" Warning "A picture of one colour",
        "take it out if the camera failed";
    PictureMode "picture-mode" Warning "An unusual colour mode",
        "save it as 8-bit RGB, so that every program sees the same; `--fix` does so";
    PictureGrey "picture-grey" Note "A grey picture among coloured ones",
        "nothing, if pictures in use are grey too";
    ExifInvalid "exif-invalid" Warning "EXIF data that cannot be right",
        "save the picture without EXIF; `--fix` does so";
    ExifOrientation "exif-orientation" Warning "A picture that is stored turned",
        "make sure the boxes fit the upright picture; `--fix` stores it upright";
    ExifTurned "exif-turned-twice" Warning "A picture that was turned but still says to turn it",
        "look at the boxes; if they are turned, set the EXIF orientation to 1";
    PictureTwice "picture-duplicate" Warning "The same picture twice",
        "keep one; `--fix` does so";
    LabelsContradict "duplicate-labels-differ" Error "The same picture with different labels",
        "keep the copy with the right labels";
    PictureNear "picture-near-duplicate" Note "Two pictures that look alike",
        "frames of one film add little: keep one";
    LeakageFile "leakage-same-file" Error "Two splits share a picture file",
        "give each split pictures of its own; `yolo11 data split` makes splits";
    LeakageExact "leakage-duplicate" Error "The same picture in two splits",
        "keep it in one of them; `--fix` takes it out of training";
    LeakageNear "leakage-near-duplicate" Warning "Pictures of two splits that look alike",
        "put pictures of one scene into one split: `yolo11 data split --group-by`";

    NameCase "name-case" Warning "Names that differ only by upper and lower case",
        "rename one; some systems take them for one file";
    NameShared "name-shared-label" Error "Pictures that share one label file",
        "rename one picture, with a label file of its own";
    NamePortable "name-unportable" Note "A name that other systems refuse",
        "rename the file without \\ : * ? \" < > | and without a space or dot at the end";

    ClassNamesDiffer "class-names-differ" Error "Class names that differ between files",
        "bring both files to the same names in the same order";
    ClassNamesAlike "class-names-alike" Warning "Two classes with nearly the same name",
        "join them: `yolo11 data remap`";
    ClassUnseen "class-unseen" Error "A class that is measured but never trained",
        "add examples to train, or `yolo11 data split` anew";
    ClassUnused "class-unused" Warning "A class without examples",
        "add examples, or take the class out: `yolo11 data remap`";
    ClassUntested "class-untested" Warning "A class that is trained but never measured",
        "add examples to val: `yolo11 data split`";
    ClassFew "class-few" Warning "A class with few examples",
        "add examples; a few hundred are a good start";
    ClassImbalance "class-imbalance" Warning "A class that is far rarer than another",
        "add examples of the rare class";

    ImportPicture "import-picture" Error "An annotated picture that cannot be found",
        "name the folder of the pictures: --images FOLDER";
    ImportNoArea "import-no-area" Warning "An annotated box without area",
        "draw it again; label files leave it out";
    ImportOutside "import-outside" Warning "An annotated box that reaches outside its picture",
        "nothing, if it was drawn so on purpose: label files have it cut off at the edge";
    ImportSize "import-size" Warning "A picture of another size than its annotation says",
        "make sure that the picture is the one that was annotated";
    ImportShape "import-shape" Note "An annotation that is no box",
        "nothing: segments become the box around them, points and lines are left out";
    ImportCrowd "import-crowd" Note "A region that stands for many objects",
        "`--crowds keep` makes it an object like any other";

    Cache "cache" Warning "A cache cannot be written",
        "make the folder writable";
}

impl Check {
    /// What a training does about it, where it does something: the row or the picture is left out.
    pub fn consequence(self) -> Option<&'static str> {
        match self {
            Check::LabelText
            | Check::LabelNotFinite
            | Check::LabelColumns
            | Check::LabelClass
            | Check::LabelOutside
            | Check::LabelPixels
            | Check::LabelNoArea
            | Check::LabelTwice => Some("row left out"),
            Check::LabelUnreadable => Some("picture left out"),
            Check::PictureEmpty | Check::PictureTruncated | Check::PictureUnreadable | Check::ListMissing => {
                Some("left out")
            }
            _ => None,
        }
    }

    /// Whether it is about a row that training leaves out, and that `strict_labels` refuses.
    pub(crate) fn spoils_row(self) -> bool {
        self.consequence() == Some("row left out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_readable() {
        let mut ids: Vec<&str> = Check::ALL.iter().map(|check| check.id()).collect();
        let readable = |id: &&str| id.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
        assert!(ids.iter().all(readable));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Check::ALL.len());
        assert!(Check::ALL.iter().all(|check| !check.fix().ends_with('.') && check.title().len() < 60));
    }
}
