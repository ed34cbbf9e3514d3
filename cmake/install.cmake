# Headers, both libraries, peal.pc and the CMake package.

include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/peal
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
install(TARGETS peal peal_static EXPORT peal_targets)

# Found relative to itself, so that the tree may be moved after it was
# installed, and DESTDIR needs no second thought.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_prefix
     ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/peal.pc.in peal.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/peal.pc DESTINATION ${package_dir})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/peal)
configure_package_config_file(
    ${CMAKE_CURRENT_LIST_DIR}/pealConfig.cmake.in pealConfig.cmake
    INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(pealConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pealConfig.cmake
              ${PROJECT_BINARY_DIR}/pealConfigVersion.cmake
        DESTINATION ${package_dir})
install(EXPORT peal_targets
        NAMESPACE peal::
        FILE pealTargets.cmake
        DESTINATION ${package_dir})
