"""Which schema the results database has."""

# Of the tables and of the records in them, counted on with every change of either; `migrations` has
# a step for each. History: 1: first; 2: profiles, queues, evaluations and what calibration finds;
# 3: purpose, columns to search by, imports of meters' traces, tags, campaigns.
SCHEMA_VERSION = 3
