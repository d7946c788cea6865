// Sphinx's own points for a page that is found; the notes for teachers come behind what they are about.
var Scorer = {
  score: ([page, , , , points]) => (page.startsWith("notebooks/teaching/") ? points / 4 : points),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
