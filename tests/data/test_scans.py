"""NIfTI and DICOM: geometry, scale, time; what would be read wrongly is refused."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from written_volumes import RAW, VALUES, raw, write_dicom

from microtome.data.stores import ImageReadError, open_source
from microtome.geometry import window


def test_nifti_keeps_its_affine_and_applies_its_scale(tmp_path):
    values = VALUES[0, :, 0].astype(np.int16)  # zyx
    affine = np.array([[-0.5, 0, 0, 3], [0, 0.75, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(values.T, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(2, -1000)
    nibabel.save(image, tmp_path / "a.nii.gz")
    source = open_source(tmp_path / "a.nii.gz", channels="as_is", levels=(-1000, 9000))
    assert source.info.name == "a" and source.info.shape == (5, 20, 30)
    assert source.info.spacing == (2000.0, 750.0, 500.0), "z, y, x in micrometres"
    assert np.array_equal(source.info.affine, affine)
    np.testing.assert_allclose(source.read(window((5, 20, 30)))[0], 2 * values / 10000, atol=1e-6)
    cut = (tmp_path / "a.nii.gz").read_bytes()[:-300]
    (tmp_path / "cut.nii.gz").write_bytes(cut)
    with pytest.raises(ImageReadError, match=r"cut\.nii"):
        open_source(tmp_path / "cut.nii.gz").read(window((5, 20, 30)))


def test_nifti_that_claims_more_than_it_has_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VALUES[0, 0, 0], np.eye(4)), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[42:46] = (32000).to_bytes(2, "little") * 2  # dim[1] and dim[2]
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ImageReadError, match="claims 2,048,000,000 bytes of voxels in a file of"):
        open_source(tmp_path / "a.nii")


def test_the_fourth_axis_of_nifti_is_time_unless_said(tmp_path):
    values = VALUES[:, :, 0]  # tzyx
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / "a.nii")
    assert (raw(open_source(tmp_path / "a.nii", time=2, **RAW))[0] == values[2]).all()
    assert (raw(open_source(tmp_path / "a.nii", axes="czyx", **RAW)) == values).all()


def test_dicom_is_sorted_by_position_and_rescaled(tmp_path):
    values = VALUES[0, :, 0]
    folder = write_dicom(tmp_path / "ct", values, order=[3, 1, 4, 0, 2],
                         RescaleSlope=2, RescaleIntercept=-1024)  # fmt: skip
    source = open_source(folder, channels="as_is", levels=(-1024, 8976))
    assert source.info.spacing == (2500.0, 500.0, 250.0) and source.info.name == "ct"
    np.testing.assert_allclose(source.read(window((5, 20, 30)))[0], 2 * values / 10000, atol=1e-6)
    one = open_source(
        folder / "003.dcm",
        **RAW,
    )
    assert one.info.shape == (20, 30)


def test_dicom_that_would_be_read_wrongly_is_refused(tmp_path):
    values = VALUES[0, :, 0]
    folder = write_dicom(tmp_path / "gap", values, order=[0, 1, 2, 3, 4])
    (folder / "002.dcm").unlink()
    with pytest.raises(ImageReadError, match=r"from 2\.500 to 5\.000 mm: some are missing"):
        open_source(folder)
    both = write_dicom(tmp_path / "two", values[:2])
    write_dicom(both, values[:2], order=[7, 8], SeriesInstanceUID="1.2.3")
    with pytest.raises(ImageReadError, match="holds 2 series"):
        open_source(both)
    inverted = write_dicom(tmp_path / "m1", values[:2], PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(ImageReadError, match="expected one of MONOCHROME2"):
        open_source(inverted)
    short = write_dicom(tmp_path / "cut", values[:2])
    content = (short / "000.dcm").read_bytes()
    (short / "000.dcm").write_bytes(content[:-200])
    with pytest.raises(ImageReadError, match=r"000\.dcm"):
        open_source(short, levels=(0, 1)).read(window((2, 20, 30)))
