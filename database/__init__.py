"""The tables: one file each with its model and its queries. Queries never commit; services do."""
