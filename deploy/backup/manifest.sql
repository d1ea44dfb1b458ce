-- What a database holds, a line each: table|rows|sum of its rows' hashes, and sequence|last value.
-- The same on every server of the same encoding, whatever its settings.
\pset tuples_only on
\pset format unaligned
\pset fieldsep '|'
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SELECT format(
         'SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM ONLY %s t',
         oid::regclass, oid::regclass)
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
 ORDER BY relname COLLATE "C" \gexec
SELECT format('SELECT %L, last_value::text || CASE WHEN is_called THEN '''' ELSE '' unused'' END FROM %s',
              oid::regclass, oid::regclass)
  FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
 ORDER BY relname COLLATE "C" \gexec
