//! The names that an expression takes from outside: `t` of `tags.exists(t, t == 'a')` is not one.
use std::collections::BTreeSet;

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr};
use cel::parser::Expression;

/// Names of an expression that it does not declare itself. The list that the crate makes holds the
/// variables of macros too, so they would be looked up as properties.
pub fn free_names(expression: &Expression) -> BTreeSet<&str> {
    let mut names = Names { free: BTreeSet::new(), declared: Vec::new() };
    names.visit(expression);
    names.free
}

struct Names<'e> {
    free: BTreeSet<&'e str>,
    /// Those of the macros around.
    declared: Vec<&'e str>,
}

impl<'e> Names<'e> {
    fn visit(&mut self, expression: &'e Expression) {
        match &expression.expr {
            Expr::Ident(name) => {
                if !self.declared.contains(&name.as_str()) {
                    self.free.insert(name);
                }
            }
            Expr::Call(call) => {
                call.target.iter().for_each(|target| self.visit(target));
                call.args.iter().for_each(|argument| self.visit(argument));
            }
            Expr::Comprehension(comprehension) => {
                // Neither the range nor the first result sees the variables.
                self.visit(&comprehension.iter_range);
                self.visit(&comprehension.accu_init);
                let outer = self.declared.len();
                self.declared.push(&comprehension.accu_var);
                // The variables of the items are gone where the result is made.
                self.visit(&comprehension.result);
                self.declared.push(&comprehension.iter_var);
                self.declared.extend(comprehension.iter_var2.as_deref());
                self.visit(&comprehension.loop_cond);
                self.visit(&comprehension.loop_step);
                self.declared.truncate(outer);
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.visit_entry(entry)),
            Expr::Struct(made) => made.entries.iter().for_each(|entry| self.visit_entry(entry)),
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn visit_entry(&mut self, entry: &'e IdedEntryExpr) {
        match &entry.expr {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }
        }
    }
}
