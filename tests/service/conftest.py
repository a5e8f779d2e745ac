import numpy as np
import pytest
import torch

import crsdun
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, simulate
from crsdun.scenes import write_measurement
from tests.viewing.test_app import BANDS, NAMES, WAVELENGTHS, H, W, scene


@pytest.fixture(scope="session")
def given(tmp_path_factory):
    """A folder with a measurement, also without its mask and as bare pixels, its camera, and weights for it."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    mask = random_mask(H, W, seed=1)
    measurement = simulate(scene(), Exposure(mask))
    write_measurement(measurement, folder / "y.npz")
    np.save(folder / "frame.npy", measurement.frame)
    np.save(folder / "mask.npy", mask)
    measurement.frame.astype("<f4").tofile(folder / "frame.raw")
    Preparation().camera_for(measurement).save(folder / "lab.npz")
    network = crsdun.create("crsdun_2stg", BANDS, 2, width=4)
    crsdun.save(network, folder / "net.safetensors", wavelengths=WAVELENGTHS, class_names=NAMES, step=2)
    return folder
