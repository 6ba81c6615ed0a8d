//! Where the live entries stand.

/// A run of entries that stand one after the other in one segment. What was overwritten belongs to no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) segment: u64,
    /// The first entry that is live.
    pub(crate) first_index: u64,
    /// The index behind the last entry that is live. The last batch may hold more, which were overwritten.
    pub(crate) end_index: u64,
    /// Where the batch with the first entry begins.
    pub(crate) offset: u64,
    /// Where the batch with the last entry ends, or a later batch.
    pub(crate) end_offset: u64,
}

impl Span {
    pub(crate) fn numbers(&self) -> [u64; 5] {
        [self.segment, self.first_index, self.end_index, self.offset, self.end_offset]
    }

    pub(crate) fn from_numbers([segment, first_index, end_index, offset, end_offset]: [u64; 5]) -> Span {
        Span { segment, first_index, end_index, offset, end_offset }
    }

    /// Where to begin to read for `index`, given the points of the segment.
    pub(crate) fn start_for(&self, index: u64, points: &[Point]) -> u64 {
        let behind = points.partition_point(|point| point.index <= index);
        let point = behind.checked_sub(1).and_then(|at| points.get(at));
        point.map_or(self.offset, |point| point.offset.max(self.offset))
    }
}

/// A place in the sparse index: the batch at `offset` begins with entry `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) index: u64,
    pub(crate) offset: u64,
}

/// The spans of a log by rising index, and the points of its last segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    /// Nothing before this index is live.
    first_index: u64,
    spans: Vec<Span>,
    points: Vec<Point>,
    stride_bytes: u64,
}

impl Catalog {
    /// The catalog of a log that begins with `first_index` and holds `spans`, with a point for every `stride_bytes` to come.
    pub(crate) fn new(first_index: u64, spans: Vec<Span>, stride_bytes: u64) -> Catalog {
        Catalog { first_index, spans, points: Vec::new(), stride_bytes }
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The first index; in an empty log, that of the entry to come.
    pub(crate) fn first_index(&self) -> u64 {
        self.first_index
    }

    /// The index behind the last.
    pub(crate) fn end_index(&self) -> u64 {
        self.spans.last().map_or(self.first_index, |span| span.end_index)
    }

    /// The log begins with `first_index` from now on: what stands before is live no more. `whole` for everything that
    /// stands there now.
    pub(crate) fn begin_at(&mut self, first_index: u64, whole: bool) {
        self.first_index = first_index;
        self.spans.retain(|span| !whole && span.end_index > first_index);
        if let Some(first) = self.spans.first_mut() {
            first.first_index = first.first_index.max(first_index);
        }
        if whole {
            self.points.clear();
        }
    }

    /// The first segment that holds something live; `None` if none does.
    pub(crate) fn first_segment(&self) -> Option<u64> {
        self.spans.first().map(|span| span.segment)
    }

    /// Adds a batch of entries, given as a span of its own, at the end of its segment. It replaces what it overlaps.
    pub(crate) fn push(&mut self, batch: Span) {
        let overwrites = batch.first_index < self.end_index();
        if overwrites {
            self.cut(batch.first_index);
        }
        let point = Point { index: batch.first_index, offset: batch.offset };
        match self.spans.last_mut() {
            Some(last) if !overwrites && last.segment == batch.segment => {
                last.end_index = batch.end_index;
                last.end_offset = batch.end_offset;
                if self.points.last().is_none_or(|last| batch.offset - last.offset >= self.stride_bytes) {
                    self.points.push(point);
                }
            }
            _ => {
                self.spans.push(batch);
                self.points.push(point);
            }
        }
    }

    fn cut(&mut self, index: u64) {
        self.spans.retain(|span| span.first_index < index);
        if let Some(last) = self.spans.last_mut() {
            last.end_index = last.end_index.min(index);
        }
        let live = self.points.partition_point(|point| point.index < index);
        self.points.truncate(live);
    }

    /// The last segment was sealed: points begin anew.
    pub(crate) fn start_segment(&mut self) {
        self.points.clear();
    }

    /// The span that holds `index`.
    pub(crate) fn span_of(&self, index: u64) -> Option<Span> {
        let behind = self.spans.partition_point(|span| span.first_index <= index);
        let span = behind.checked_sub(1).and_then(|at| self.spans.get(at))?;
        (index < span.end_index).then_some(*span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(segment: u64, first_index: u64, end_index: u64, offset: u64) -> Span {
        Span { segment, first_index, end_index, offset, end_offset: offset + 100 }
    }

    #[test]
    fn an_overwritten_suffix_is_in_no_span_across_segments_too() {
        let mut catalog = Catalog::new(1, Vec::new(), 150);
        catalog.push(batch(1, 1, 5, 64));
        catalog.push(batch(1, 5, 9, 164));
        catalog.push(batch(1, 9, 12, 264));
        assert_eq!(catalog.points(), [Point { index: 1, offset: 64 }, Point { index: 9, offset: 264 }]);
        catalog.push(batch(1, 7, 8, 364));
        assert_eq!(catalog.span_of(6).unwrap().start_for(6, catalog.points()), 64);
        assert_eq!(catalog.span_of(7).unwrap().offset, 364);
        assert_eq!(catalog.span_of(8), None);
        assert_eq!(catalog.points(), [Point { index: 1, offset: 64 }, Point { index: 7, offset: 364 }]);
        catalog.start_segment();
        catalog.push(batch(2, 3, 4, 64));
        assert_eq!(catalog.end_index(), 4);
        assert_eq!(catalog.spans().len(), 2);
        assert_eq!(catalog.span_of(2).unwrap().end_index, 3);
        assert_eq!(catalog.span_of(3).unwrap().segment, 2);
        catalog.push(batch(2, 1, 2, 164));
        assert_eq!(catalog.spans(), [batch(2, 1, 2, 164)]);
    }

    #[test]
    fn what_stands_before_the_beginning_is_in_no_span() {
        let mut catalog = Catalog::new(1, Vec::new(), 150);
        catalog.push(batch(1, 1, 5, 64));
        catalog.start_segment();
        catalog.push(batch(2, 5, 9, 64));
        catalog.begin_at(7, false);
        assert_eq!((catalog.first_index(), catalog.end_index(), catalog.first_segment()), (7, 9, Some(2)));
        assert_eq!(catalog.span_of(6), None);
        assert_eq!(catalog.span_of(7).unwrap().start_for(7, catalog.points()), 64);
        catalog.begin_at(9, false);
        assert_eq!((catalog.first_index(), catalog.end_index(), catalog.first_segment()), (9, 9, None));
        catalog.push(batch(2, 9, 11, 164));
        catalog.begin_at(21, true);
        assert_eq!((catalog.first_index(), catalog.end_index(), catalog.span_of(9)), (21, 21, None));
        catalog.push(batch(2, 21, 22, 264));
        assert_eq!(catalog.spans(), [batch(2, 21, 22, 264)]);
    }
}
