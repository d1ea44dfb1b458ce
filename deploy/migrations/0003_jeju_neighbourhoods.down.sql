DELETE FROM neighbourhoods WHERE region_code = 'jeju';
