//! What a program stacks in its terminal: keyboard flags and titles. The emulator's own stacks are not used: the one
//! panics when it is full, the other takes titles of any length.

/// Levels of keyboard flags; a program that pushes more loses its oldest.
const KEYBOARD_LEVELS: usize = 64;

/// Titles that can be stacked.
const TITLE_LEVELS: usize = 32;

/// Bytes of a title.
pub(super) const TITLE_LENGTH: usize = 1024;

/// Flags of the kitty keyboard protocol on one of the two screens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyboardStack {
    below: Vec<u8>,
    /// The flags in force.
    pub(super) flags: u8,
}

impl KeyboardStack {
    /// Puts `flags` in force until they are popped.
    pub(super) fn push(&mut self, flags: u8) {
        if self.below.len() == KEYBOARD_LEVELS {
            self.below.remove(0);
        }
        self.below.push(self.flags);
        self.flags = flags;
    }

    /// Takes `levels` off; below the last there are no flags.
    pub(super) fn pop(&mut self, levels: usize) {
        for _ in 0..levels.min(KEYBOARD_LEVELS + 1) {
            self.flags = self.below.pop().unwrap_or_default();
        }
    }

    /// The flags of all levels, the ones in force last.
    pub(super) fn levels(&self) -> impl Iterator<Item = u8> {
        self.below.iter().copied().chain([self.flags])
    }
}

/// The title and those put aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Titles {
    present: String,
    below: Vec<String>,
}

impl Titles {
    pub(super) fn present(&self) -> Option<&str> {
        (!self.present.is_empty()).then_some(self.present.as_str())
    }

    /// The titles put aside, the oldest first.
    pub(super) fn below(&self) -> &[String] {
        &self.below
    }

    pub(super) fn set(&mut self, title: &str) {
        let mut end = title.len().min(TITLE_LENGTH);
        while !title.is_char_boundary(end) {
            end -= 1;
        }
        // Control characters would act on the terminal of whoever prints the title.
        self.present = title[..end].chars().filter(|character| !character.is_control()).collect();
    }

    pub(super) fn push(&mut self) {
        if self.below.len() == TITLE_LEVELS {
            self.below.remove(0);
        }
        self.below.push(self.present.clone());
    }

    pub(super) fn pop(&mut self) {
        if let Some(title) = self.below.pop() {
            self.present = title;
        }
    }
}
