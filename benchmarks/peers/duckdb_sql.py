"""What conf/events.yaml means, in DuckDB's SQL, over tables or views of these names."""

from __future__ import annotations

NEWEST = """
WITH typed AS (
  SELECT event_id, try_strptime(event_timestamp, '%Y-%m-%d %H:%M:%S') AS moment, user_id, lower(trim(event_type)) AS event_type,
         coalesce(country, 'unknown') AS country, TRY_CAST(amount AS DECIMAL(12, 2)) AS amount, amount AS given, _file, {place} AS place
  FROM raw)
SELECT event_id, CAST(moment AS DATE) AS event_date, moment AT TIME ZONE 'UTC' AS event_timestamp, user_id, event_type, country, amount,
       _file
FROM typed
WHERE event_id IS NOT NULL AND moment IS NOT NULL AND event_type IN ('page_view', 'click', 'add_to_cart', 'purchase', 'signup')
  AND CASE WHEN amount IS NULL THEN given IS NULL AND event_type <> 'purchase' ELSE amount >= 0 END
QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY _file DESC, place DESC) = 1
"""
"""The valid rows of `raw`, typed, of each event the one of the latest file; `place` orders the rows of a file."""

PER_DAY = """
SELECT event_date, count(*) AS events, count(DISTINCT user_id) AS users, CAST(sum(amount) AS DECIMAL(18, 2)) AS revenue
FROM silver GROUP BY event_date
"""
BY_DAY_AND_TYPE = "SELECT event_date, event_type, count(*) AS events FROM silver GROUP BY event_date, event_type"
BY_TYPE = "SELECT event_type, CAST(sum(events) AS BIGINT) AS events FROM by_day_and_type GROUP BY event_type"
