"""A folder of records."""

import pytest
from made_records import done_record, failed_record, write_records


@pytest.fixture
def records_folder(tmp_path):
    """Twelve done movies and a failed one: the folder of a batch's sums."""
    records = [done_record(number) for number in range(12)]
    records.append(failed_record(12, "broken.tif", "broken.tif is cut short. Copy the movie again."))
    write_records(tmp_path / "restframe", records)
    return tmp_path
