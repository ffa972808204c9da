"""The module's own tables: lists made of the records, orders, staffing tables, counts."""

from dmed.modules.workforce.tables.ddl import DDL

__all__ = ["DDL"]
