"""Studies: many runs -> paired statistics, the rule of docs/spec.md, plots."""
