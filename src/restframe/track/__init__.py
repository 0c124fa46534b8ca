"""Measuring motion. `measure.measure` is the way through this folder; its steps, in their order:

- `series`: the binned frames and their exposures, the input;
- `pattern`: the fixed pattern of the detector;
- `coarse` (with `low_band`, `peaks`, `path`, `specimen`): global shifts from whole frames;
- `tiles` (with `windows`, `rings`): spectra of tiles that follow these shifts;
- `global_motion`, `local_motion`: fits of the field (`fit`) to the tiles, with the likelihood (`alignment`, `spectrum`,
  `likelihood`), the prior (`prior`, `time_basis`, `prior_scales`, `evidence`) and what joins them (`problem`,
  `information`, `posterior`);
- `select_degree`: how much local motion is confirmed;
- `report` (with `blurred`, `residual_local_motion`, `patches`): the result and its errors.

`field` holds the result, `MotionField`: all that other parts of the program know about motion.
"""
